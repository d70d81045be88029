"""What happens when: pure, the same seed gives the same plan."""

import random
from collections.abc import Sequence
from typing import NamedTuple

FIRST_S = 2.0
#: After a fault is over, what it hit is left alone for so long: a process that is killed faster than it starts shows nothing.
REST_S = 3.0


class Shape(NamedTuple):
    """What a plan has to know of a kind of fault."""

    kind: str
    targets: frozenset[str]  # two faults that share one never overlap
    shortest_s: float
    longest_s: float


class Planned(NamedTuple):
    """One fault: begins at `at_s` after the start, is healed `lasts_s` later."""

    at_s: float
    kind: str
    lasts_s: float


def plan(seed: int, length_s: float, shapes: Sequence[Shape], every_s: float = 4.0) -> list[Planned]:
    """Faults about `every_s` apart, all over before `length_s`; each kind once before any comes again, in random order."""
    chance, free_at_s = random.Random(seed), dict[str, float]()
    planned: list[Planned] = []
    deck: list[Shape] = []
    at_s = FIRST_S
    while at_s < length_s:
        if not deck:
            deck = chance.sample(shapes, len(shapes))
        shape = _possible(deck, at_s, length_s, free_at_s)
        if shape is not None:
            deck.remove(shape)
            longest_s = min(shape.longest_s, length_s - at_s)
            lasts_s = chance.uniform(min(shape.shortest_s, longest_s), longest_s)
            planned.append(Planned(round(at_s, 2), shape.kind, round(lasts_s, 2)))
            free_at_s |= dict.fromkeys(shape.targets, at_s + lasts_s + REST_S)
        at_s += chance.uniform(0.5, 1.5) * every_s if shape is not None else 0.5
    return planned


def _possible(deck: Sequence[Shape], at_s: float, length_s: float, free_at_s: dict[str, float]) -> Shape | None:
    """The first of the deck whose targets are free and that can be over in time."""
    for shape in deck:
        if at_s + shape.shortest_s <= length_s and all(free_at_s.get(target, 0.0) <= at_s for target in shape.targets):
            return shape
    return None
