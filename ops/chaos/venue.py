"""Faults of the exchange and of the line to it."""

from typing import Any, ClassVar

from ops.chaos.faults import Fault
from ops.chaos.world import World

_TARGET = frozenset({"sim"})


class Venue(Fault):
    """The exchange misbehaves in one way for a while."""

    targets = _TARGET
    lasts_s = (3.0, 8.0)
    wrong: ClassVar[dict[str, Any]]
    right: ClassVar[dict[str, Any]]
    also_drop: ClassVar[bool] = False  # cut the connections when it begins: else nobody would notice

    def inject(self, world: World) -> None:
        world.tell_exchange("/sim/faults", self.wrong)
        if self.also_drop:
            world.tell_exchange("/sim/drop", {})

    def heal(self, world: World) -> None:
        world.tell_exchange("/sim/faults", self.right)


class Dropped(Fault):
    """All connections cut, without a close frame."""

    kind, targets = "exchange connections cut", _TARGET

    def inject(self, world: World) -> None:
        world.tell_exchange("/sim/drop", {})


def _venue(kind: str, wrong: dict[str, Any], also_drop: bool = False, lasts_s: tuple[float, float] = (3.0, 8.0)) -> type[Fault]:
    right: dict[str, Any] = {name: 86400.0 if name == "life_s" else type(value)() for name, value in wrong.items()}
    body = {"kind": kind, "wrong": wrong, "right": right, "also_drop": also_drop, "lasts_s": lasts_s}
    return type("Venue_" + kind.replace(" ", "_"), (Venue,), body)


VENUE_KINDS: tuple[type[Fault], ...] = (
    Dropped,
    _venue("exchange repeats frames", {"duplicate": 0.3}),
    _venue("exchange swaps frames", {"reorder": 0.3}),
    _venue("exchange loses frames", {"drop": 0.05}),
    _venue("exchange sends nonsense", {"malformed": 0.02, "unknown": 0.02}),
    _venue("exchange is silent", {"silent": True}, lasts_s=(5.0, 10.0)),
    _venue("exchange REST says 429", {"rest_status": 429}, also_drop=True),
    _venue("exchange REST says 418", {"rest_status": 418}, also_drop=True),
    _venue("exchange REST says 503", {"rest_status": 503}, also_drop=True),
    _venue("exchange refuses connections", {"refuse": True}, also_drop=True),
    _venue("exchange announces its end", {"life_s": 3.0}, lasts_s=(4.0, 8.0)),
)
