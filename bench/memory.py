"""Peak memory of what a bench runs: proportional (PSS), so that what processes share counts once."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import psutil


class MemoryMeter:
    """Looks at named process trees every so often while it is open; they may end meanwhile."""

    def __init__(self, pids: Mapping[str, int], every_s: float = 0.5) -> None:
        self._pids, self._every_s = dict(pids), every_s
        self._peaks = dict.fromkeys(pids, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "MemoryMeter":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def peak_mb(self) -> dict[str, float]:
        """Megabytes by name, the largest seen, and a last look now."""
        self._look()
        return {name: round(peak / 1e6, 1) for name, peak in self._peaks.items()}

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        for name, pid in self._pids.items():
            self._peaks[name] = max(self._peaks[name], _tree_bytes(pid))


def tree_mb(pid: int) -> float:
    """Megabytes of a process and its children now."""
    return round(_tree_bytes(pid) / 1e6, 1)


def _tree_bytes(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        return sum(map(_bytes, [parent, *parent.children(recursive=True)]))
    except psutil.NoSuchProcess:
        return 0


def _bytes(process: psutil.Process) -> int:
    """PSS where the system tells it (Linux); else what is resident."""
    try:
        told: Any = process.memory_full_info()
        return int(getattr(told, "pss", told.rss))
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
