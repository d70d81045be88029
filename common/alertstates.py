"""Where an alert's state machine stands, and what people may do to it. Pure.

    inactive ──► pending ──► firing ──► resolved ──► (pending, firing)     paused: nothing is looked at
        └──────────────────────┘└► acknowledged ──┘                       expired, or resolved if `once`: the end
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: The contract's status of each state.
STATUS = {
    "inactive": "active", "pending": "active", "firing": "triggered", "acknowledged": "acknowledged", "resolved": "active",
    "expired": "expired", "paused": "paused",
}  # fmt: skip
#: All that there are; `resolved` is the end of a rule that is to fire once.
STATUSES = (*dict.fromkeys(STATUS.values()), "resolved")
FIRING = ("firing", "acknowledged")
TRANSITIONS = (
    "pending", "lapsed", "triggered", "repeated", "cleared", "expired", "annotated",
    "acknowledged", "paused", "resumed", "edited",
)  # fmt: skip
#: Transitions that receivers are told of; the others are history.
TOLD = ("triggered", "repeated", "cleared", "expired")
#: A living rule's statuses: the others are the end of it.
ENDED = ("expired", "resolved")


@dataclass(frozen=True, slots=True)
class State:
    """`since_us`: the bar with which the state began (pending, firing), or the moment of a reset by hand; `held`: bars that held
    while pending; `fired_us`: when it last fired; `told_us`: when receivers last heard that it fires; `armed`: it was seen not to
    hold (types that need it)."""

    name: str = "inactive"
    since_us: int | None = None
    held: int = 0
    fired_us: int | None = None
    told_us: int | None = None
    armed: bool = False

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "State":
        """From a row of `alerts`; `{}` is the beginning."""
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        """For a row of `alerts`."""
        return asdict(self)

    def status(self, once: bool) -> str:
        """The contract's status."""
        return "resolved" if once and self.name == "resolved" else STATUS[self.name]

    def has_ended(self, once: bool) -> bool:
        """True if nothing will happen any more by itself."""
        return self.status(once) in ENDED


def acknowledged(state: State) -> State | None:
    """Somebody has seen it: it repeats itself no more until it is over. None if it does not fire."""
    return State(**{**asdict(state), "name": "acknowledged"}) if state.name == "firing" else None


def paused(state: State, once: bool) -> State | None:
    """Nothing is looked at. None if it is paused, or has ended."""
    return None if state.name == "paused" or state.has_ended(once) else State("paused")


def reset(now_us: int | None = None) -> State:
    """The beginning: after an edit, and where a pause ends. `now_us`, for rules by the clock: older moments count no more."""
    return State(since_us=now_us)
