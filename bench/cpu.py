"""CPU seconds of what a bench runs: user and system, children that have ended included."""

from collections.abc import Mapping
from typing import Any

import psutil


class CpuMeter:
    """Reads the CPU seconds of named process trees at two moments."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began = self._read()

    def used_s(self) -> dict[str, float]:
        """Seconds since this meter was made, by name; asked before the processes end."""
        now = self._read()
        return {name: now[name] - self._began[name] for name in self._pids}

    def _read(self) -> dict[str, float]:
        return {name: _tree_s(psutil.Process(pid)) for name, pid in self._pids.items()}


def _tree_s(process: psutil.Process) -> float:
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times: Any = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if each == process:
            total += times.children_user + times.children_system
    return total
