"""Chromium for the tests of the dashboard: found, or installed from Debian's packages where this user may."""

import os
import shutil
import subprocess
from pathlib import Path

_NAMES = ("chromium", "chromium-browser")
_APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20")
#: Each step with the seconds that it may take. The fonts come without being asked for on a desk, not in a container.
_STEPS = ((("update",), 90), (("install", "--no-install-recommends", "chromium", "fonts-dejavu-core"), 240))
_LINES_TOLD = 5


def chromium_here() -> str | None:
    """Path of the Chromium of this machine; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def install_chromium() -> str | None:
    """Install it with apt, within six minutes. Answers why it is not there afterwards; None if it is."""
    reason = _hindrance() or next((failed for step in _STEPS if (failed := _apt(*step))), None)
    return reason or (None if chromium_here() else "apt installed it, but no `chromium` is on the PATH")


def _hindrance() -> str | None:
    if os.geteuid():
        return "only root may install it: as root, apt-get install chromium"
    if not shutil.which("apt-get"):
        return "there is no apt-get here: install Chromium by hand"
    if "\nID=ubuntu\n" in f"\n{_os_release()}\n":
        return "Ubuntu's package is a snap, which does not run everywhere: install Chromium by hand"
    return None


def _os_release() -> str:
    path = Path("/etc/os-release")
    return path.read_text() if path.exists() else ""


def _apt(arguments: tuple[str, ...], limit_s: int) -> str | None:
    """Run a step of apt; answers why it failed, None if it did not."""
    try:
        done = subprocess.run(
            [*_APT, *arguments], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"apt-get {arguments[0]} was not done after {limit_s} s"
    said = "\n".join(done.stdout.strip().splitlines()[-_LINES_TOLD:])
    return f"apt-get {arguments[0]} ended with {done.returncode}:\n{said}" if done.returncode else None
