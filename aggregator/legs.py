"""The legs of a pair or basket side by side: one row for each time at which a leg has a bar and all have a price. Pure.

A leg without a bar carries its last close for at most `stale_us`; the row says which. Rows begin at the first time all legs have
a bar. A row at t is made once all symbols' watermarks have passed the end of t's bar, so nothing is looked at ahead of its time.
docs/decisions/0013 has the policy.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class LegBar(NamedTuple):
    """What a pair needs of a closed bar."""

    start_us: int
    close_text: str  # exact, as PostgreSQL reads it
    close: float
    has_gap: bool


class Row(NamedTuple):
    """All legs at one time, y first; `carried` names the legs whose last close it is: `y`, `x` (baskets: `y,x1,x2`) or ``."""

    start_us: int
    legs: tuple[LegBar, ...]
    carried: str

    @property
    def y(self) -> LegBar:
        """The leg that is explained."""
        return self.legs[0]

    @property
    def x(self) -> LegBar:
        """The (first) leg that explains."""
        return self.legs[1]

    @property
    def has_gap(self) -> bool:
        """True if a bar of this row has status gap."""
        return any(leg.has_gap for leg in self.legs)


@dataclass(slots=True)
class Leg:
    """One symbol's bars: the last one used, and those that wait for the other legs."""

    last: LegBar | None = None
    waiting: deque[LegBar] = field(default_factory=deque)
    closed_us: int = -1  # every bar that ends at or before it has come

    def add(self, bar: LegBar) -> None:
        """The next closed bar; one from the past (a rebuilt bar) is not for here."""
        newest = self.waiting[-1] if self.waiting else self.last
        if newest is None or bar.start_us > newest.start_us:
            self.waiting.append(bar)

    def take_until(self, start_us: int) -> LegBar | None:
        """The newest bar at or before a time."""
        while self.waiting and self.waiting[0].start_us <= start_us:
            self.last = self.waiting.popleft()
        return self.last


class Legs:
    """Two or more legs of bars of one length."""

    def __init__(self, length_us: int, stale_us: int, begun: bool = False, count: int = 2) -> None:
        self._length_us, self._stale_us, self.begun = length_us, stale_us, begun
        self.legs = [Leg() for _ in range(count)]
        self._names = ("y", "x") if count == 2 else ("y", *(f"x{number}" for number in range(1, count)))

    @property
    def y(self) -> Leg:
        """The leg that is explained."""
        return self.legs[0]

    @property
    def x(self) -> Leg:
        """The (first) leg that explains."""
        return self.legs[1]

    @property
    def is_waiting(self) -> bool:
        """True if a bar waits for the other legs."""
        return any(leg.waiting for leg in self.legs)

    def rows(self, at_most: int = 2**62) -> list[Row]:
        """The rows that can be made now, oldest first; what is more than `at_most` waits for the next call."""
        made: list[Row] = []
        until_us = min(leg.closed_us for leg in self.legs) - self._length_us
        while len(made) < at_most and (start_us := self._next_start()) is not None and start_us <= until_us:
            row = self._row(start_us)
            if row:
                made.append(row)
        return made

    def _next_start(self) -> int | None:
        starts = [leg.waiting[0].start_us for leg in self.legs if leg.waiting]
        return min(starts) if starts else None

    def _row(self, start_us: int) -> Row | None:
        bars = [bar for leg in self.legs if (bar := leg.take_until(start_us)) is not None]
        if len(bars) < len(self.legs) or start_us - min(bar.start_us for bar in bars) > self._stale_us:
            return None
        carried = ",".join(name for name, bar in zip(self._names, bars, strict=True) if bar.start_us < start_us)
        self.begun = self.begun or not carried
        return Row(start_us, tuple(bars), carried) if self.begun else None
