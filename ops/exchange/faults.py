"""What the exchange does wrong on request: for tests of those who read it."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Faults:
    """All at rest by default; fractions are of the messages of a connection, 0 to 1."""

    duplicate: float = 0.0
    """Fraction of messages sent twice."""
    reorder: float = 0.0
    """Fraction of messages sent after the next one, where both go out in one write."""
    drop: float = 0.0
    """Fraction of messages not sent."""
    malformed: float = 0.0
    """Fraction of messages followed by one that is cut in the middle."""
    unknown: float = 0.0
    """Fraction of messages followed by an event nobody subscribed to."""
    cut_after: int = 0
    """Messages after which each connection is cut without a close frame; 0: never."""
    silent: bool = False
    """Subscriptions are acknowledged, and nothing comes."""
    halted: bool = False
    """Nothing is traded; all that was traded can still be asked for."""
    mute: str = ""
    """Symbol whose subscriptions are acknowledged and stay silent, while the others flow."""
    refuse: bool = False
    """WebSocket handshakes are answered with 503."""
    rest_status: int = 0
    """Status of every REST answer under /api/ (400, 418, 429, 503); 0: the true one."""
    retry_after_s: int = 1
    """What such an answer says in `Retry-After`."""
    life_s: float = 86400.0
    """Seconds a connection lives."""
    ping_every_s: float = 20.0
    """Seconds between two ping frames."""
    pong_within_s: float = 60.0
    """Seconds a client has to answer a ping."""


FRACTIONS = ("duplicate", "reorder", "drop", "malformed", "unknown")


def changed(faults: Faults, wanted: Mapping[str, Any]) -> Faults:
    """The faults with some set anew.

    Raises:
        ValueError: an unknown name, a value of another type, or a fraction outside 0 to 1.
    """
    kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(Faults)}
    for name, value in wanted.items():
        if name not in kinds:
            raise ValueError(f"{name} is not a fault; there are {', '.join(kinds)}")
        given = float(value) if kinds[name] is float and type(value) is int else value
        if type(given) is not kinds[name] or (kinds[name] in (int, float) and given < 0) or (name in FRACTIONS and given > 1):
            raise ValueError(f"{name} can not be {value!r}")
    return replace(faults, **{name: kinds[name](value) for name, value in wanted.items()})


def disturbed(messages: list[str], faults: Faults, chance: random.Random) -> list[str]:
    """The messages as a faulty line would carry them."""
    if not any(getattr(faults, name) for name in FRACTIONS):
        return messages
    out: list[str] = []
    held: list[str] = []
    for message in messages:
        if chance.random() < faults.drop:
            continue
        if not held and chance.random() < faults.reorder:
            held.append(message)
            continue
        out += [message, *held]
        held.clear()
        out += [message] * (chance.random() < faults.duplicate)
        out += [message[: len(message) // 2]] * (chance.random() < faults.malformed)
        out += ['{"e":"newEvent","E":1,"s":"NOBODY","x":[1,2]}'] * (chance.random() < faults.unknown)
    return out + held
