"""The two legs of a pair side by side: one row for each time at which a leg has a bar and both have a price. Pure.

A leg without a bar carries its last close for at most `stale_us`; the row says which. Rows begin at the first time both legs have
a bar. A row at t is made once both symbols' watermarks have passed the end of t's bar, so nothing is looked at ahead of its time.
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
    """Both legs at one time; `carried` is 'y', 'x' or ''."""

    start_us: int
    y: LegBar
    x: LegBar
    carried: str

    @property
    def has_gap(self) -> bool:
        """True if a bar of this row has status gap."""
        return self.y.has_gap or self.x.has_gap


@dataclass(slots=True)
class Leg:
    """One symbol's bars: the last one used, and those that wait for the other leg."""

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
    """Two legs of bars of one length."""

    def __init__(self, length_us: int, stale_us: int, begun: bool = False) -> None:
        self._length_us, self._stale_us, self.begun = length_us, stale_us, begun
        self.y, self.x = Leg(), Leg()

    def rows(self) -> list[Row]:
        """The rows that can be made now, oldest first."""
        made = []
        until_us = min(self.y.closed_us, self.x.closed_us) - self._length_us
        while (start_us := self._next_start()) is not None and start_us <= until_us:
            row = self._row(start_us)
            if row:
                made.append(row)
        return made

    def _next_start(self) -> int | None:
        starts = [leg.waiting[0].start_us for leg in (self.y, self.x) if leg.waiting]
        return min(starts) if starts else None

    def _row(self, start_us: int) -> Row | None:
        y, x = self.y.take_until(start_us), self.x.take_until(start_us)
        if y is None or x is None or start_us - min(y.start_us, x.start_us) > self._stale_us:
            return None
        carried = "y" if y.start_us < start_us else "x" if x.start_us < start_us else ""
        self.begun = self.begun or not carried
        return Row(start_us, y, x, carried) if self.begun else None
