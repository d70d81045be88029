"""Disks that can be full: a server's folder on a file system of its own in memory, where we may mount one (root, Linux)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_ROOM_MB = {"redis": 3072, "postgres": 8192}


class SmallDisks:
    """The folders of servers that lie on disks of their own."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.mounted: list[str] = []

    def put(self, name: str, take_down: Callable[[str], None], bring_up: Callable[[str], None]) -> None:
        """Move a server's folder onto a disk of its own; nothing happens where that is not allowed."""
        if sys.platform != "linux" or os.getuid() != 0:
            return
        folder = self._data_dir / name
        aside = folder.with_name(f"{name}.aside")
        take_down(name)
        try:
            folder.rename(aside)
            folder.mkdir(mode=0o700)
            if _mount("-t", "tmpfs", "-o", f"size={_ROOM_MB[name]}m", "gems-chaos", str(folder)):
                self.mounted.append(name)
            copy_owned(aside, folder)
            shutil.rmtree(aside)
        finally:
            bring_up(name)

    def fill(self, name: str) -> None:
        """Leave no room on a server's disk."""
        facts = os.statvfs(self._data_dir / name)
        used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
        _mount("-o", f"remount,size={max(used, 4096)}", str(self._data_dir / name))

    def clear(self, name: str) -> None:
        """Give it its room again."""
        _mount("-o", f"remount,size={_ROOM_MB[name]}m", str(self._data_dir / name))

    def remove(self) -> None:
        """Unmount all."""
        for name in self.mounted:
            subprocess.run(["umount", "-l", str(self._data_dir / name)], check=False)
        self.mounted.clear()


def copy_owned(source: Path, target: Path) -> None:
    """Copy a folder's content into another one, owners and modes included."""
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
