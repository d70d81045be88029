"""Faults of processes: killed, or frozen for a while."""

import signal
from typing import ClassVar

from ops.chaos.faults import Fault
from ops.chaos.world import World


class Killed(Fault):
    """kill -9; the supervisor starts it again."""

    process: ClassVar[str]

    def inject(self, world: World) -> None:
        world.signal(self.process, signal.SIGKILL)


class Frozen(Fault):
    """SIGSTOP, with all below it; nothing notices but by its silence."""

    process: ClassVar[str]
    lasts_s = (2.0, 8.0)

    def inject(self, world: World) -> None:
        world.signal(self.process, signal.SIGSTOP)

    def heal(self, world: World) -> None:
        world.signal(self.process, signal.SIGCONT)


def killed(process: str) -> type[Fault]:
    """The kind that kills this process."""
    body = {"kind": f"kill -9 {process}", "targets": frozenset({process}), "process": process}
    return type(f"Killed_{process}", (Killed,), body)


def frozen(process: str) -> type[Fault]:
    """The kind that freezes this process."""
    body = {"kind": f"freeze {process}", "targets": frozenset({process}), "process": process}
    return type(f"Frozen_{process}", (Frozen,), body)
