"""Which ids of a symbol have been seen: contiguous exchange ids need an interval, not a set.

Pure: no clock, no I/O. An interval is a run of ids of one UTC day, with the stamps at its ends: what a hole lies between. A run
is put in its place by bisection among its day's intervals, so ids in any order cost about the same.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.trades import US_PER_DAY

Array = np.ndarray[Any, Any]
#: Intervals of a symbol that are remembered at most. Ids in random order would need one each: the oldest are forgotten, and what
#: comes among them is not proved.
MOST_INTERVALS = 10_000


class Hole(NamedTuple):
    """Ids `first_id..last_id` that nobody has seen, between two stamps that somebody has."""

    first_id: int
    last_id: int
    from_us: int
    to_us: int


class Interval(NamedTuple):
    """Ids `low..high` of one day, all seen."""

    low: int
    high: int
    low_us: int
    high_us: int

    @property
    def day(self) -> int:
        """UTC day, counted from 1970."""
        return self.low_us // US_PER_DAY


class _Day:
    """The intervals of one UTC day as four columns, ascending; no two of them touch."""

    __slots__ = ("high_us", "highs", "low_us", "lows")

    def __init__(self) -> None:
        self.lows: list[int] = []
        self.highs: list[int] = []
        self.low_us: list[int] = []
        self.high_us: list[int] = []

    def __iter__(self) -> Iterator[Interval]:
        return map(Interval, self.lows, self.highs, self.low_us, self.high_us)

    def unseen(self, low: int, high: int) -> list[tuple[int, int]]:
        """What of `low..high` is in no interval."""
        at, pieces = bisect_left(self.highs, low), []
        while at < len(self.lows) and self.lows[at] <= high:
            if low < self.lows[at]:
                pieces.append((low, self.lows[at] - 1))
            low, at = self.highs[at] + 1, at + 1
        return [*pieces, (low, high)] if low <= high else pieces

    def insert(self, new: Interval) -> None:
        """Put unseen ids in their place, joined with the intervals that they touch."""
        at = bisect_left(self.lows, new.low)
        after = at > 0 and self.highs[at - 1] == new.low - 1
        before = at < len(self.lows) and self.lows[at] == new.high + 1
        if after and before:
            self.highs[at - 1], self.high_us[at - 1] = self.highs[at], self.high_us[at]
            for column in (self.lows, self.highs, self.low_us, self.high_us):
                del column[at]
        elif after:
            self.highs[at - 1], self.high_us[at - 1] = new.high, new.high_us
        elif before:
            self.lows[at], self.low_us[at] = new.low, new.low_us
        else:
            for column, value in zip((self.lows, self.highs, self.low_us, self.high_us), new, strict=True):
                column.insert(at, value)

    def ended_before(self, event_us: int) -> int:
        """How many of the lowest end before a stamp."""
        count = 0
        while count < len(self.highs) and self.high_us[count] < event_us:
            count += 1
        return count

    def forget_first(self, count: int) -> int:
        """Drop that many of the lowest; answers the largest id among them."""
        largest = self.highs[count - 1]
        for column in (self.lows, self.highs, self.low_us, self.high_us):
            del column[:count]
        return largest


class SeenIds:
    """Seen exchange ids of one symbol, in intervals by UTC day; ids below `floor_id` are forgotten."""

    __slots__ = ("_days", "_top", "floor_id", "left")

    def __init__(self, intervals: Iterable[Interval] = (), floor_id: int = 0, left: Sequence[int] | None = None) -> None:
        self.floor_id = floor_id
        self._days: dict[int, _Day] = {}
        #: The largest id of before `forget_all`, and its stamp: the left side of a hole before the first interval above it.
        self.left = (left[0], left[1]) if left else None
        self._top = self.left  # the largest id and its stamp: the left side of the next hole
        for interval in sorted(intervals):
            self._note(interval)

    @property
    def intervals(self) -> list[Interval]:
        """All of them, ascending."""
        return sorted(interval for day in self._days.values() for interval in day)

    @property
    def top_id(self) -> int | None:
        """The largest id ever seen."""
        return self._top[0] if self._top else None

    def add_run(self, ids: Array, stamps: Array) -> tuple[Array, list[Hole]]:
        """Note ids in ascending order without repeats, all of one day; which are new, and the holes that they open.

        Ids below `floor_id` must not come here: nobody can tell whether they were seen (`forgets`).
        """
        low, high = int(ids[0]), int(ids[-1])
        if high - low == len(ids) - 1 and (self._top is None or low > self._top[0]):
            holes = self._note(Interval(low, high, int(stamps[0]), int(stamps[-1])))
            self._bound()
            return np.ones(len(ids), dtype=bool), holes
        return self._add_pieces(ids, stamps)

    def extend(self, run: Interval) -> list[Hole] | None:
        """As `add_run` of ids that follow on each other, where they are above all that were seen; None where they are not."""
        top = self._top
        if run.low < self.floor_id or (top and run.low <= top[0]):
            return None
        day = self._days.get(run.day)
        if day and day.highs and day.highs[-1] == run.low - 1:
            day.highs[-1], day.high_us[-1] = self._top = run.high, run.high_us
            return []
        holes = self._note(run)
        self._bound()
        return holes

    def _add_pieces(self, ids: Array, stamps: Array) -> tuple[Array, list[Hole]]:
        day = self._days.get(int(stamps[0]) // US_PER_DAY) or _Day()
        new, holes = np.zeros(len(ids), dtype=bool), []
        starts = [0, *(np.flatnonzero(np.diff(ids) != 1) + 1).tolist()]
        firsts, lasts = ids[starts].tolist(), ids[[at - 1 for at in [*starts[1:], len(ids)]]].tolist()
        for start, first, last in zip(starts, firsts, lasts, strict=True):
            for low, high in day.unseen(first, last):
                left, right = start + low - first, start + high - first
                new[left : right + 1] = True
                holes += self._note(Interval(low, high, int(stamps[left]), int(stamps[right])))
        self._bound()
        return new, holes

    def forgets(self, ids: Array) -> Array:
        """Mask of ids that may have been seen and forgotten."""
        forgotten: Array = ids < self.floor_id
        return forgotten

    def holes(self) -> list[Hole]:
        """Every hole between what is remembered."""
        found: list[Hole] = []
        left = Interval(self.left[0], *self.left, self.left[1]) if self.left else None
        for right in self.intervals:
            if left and right.low > left.high + 1:
                found.append(_hole(left.high, left.high_us, right))
            if left is None or right.high > left.high:
                left = right
        return found

    def forget_all(self) -> None:
        """Nothing was seen, as far as anybody can tell: every id is new when it comes again. What lies above may open a hole."""
        self._days, self.left = {}, self._top

    def forget_before(self, event_us: int) -> None:
        """Drop the intervals that end before a stamp, all but the last: the bar after a hole needs its left side."""
        ended = {number: count for number, day in self._days.items() if (count := day.ended_before(event_us))}
        last = max((self._days[number].highs[count - 1] for number, count in ended.items()), default=0)
        for number, count in ended.items():
            day = self._days[number]
            self._forget_first(day, count - (day.highs[count - 1] == last))
        self._days = {number: day for number, day in self._days.items() if day.lows}

    def _bound(self) -> None:
        """Past the bound, forget the oldest day's lowest ids, some more than needed: this should be rare."""
        excess = sum(len(day.lows) for day in self._days.values()) - MOST_INTERVALS
        if excess <= 0:
            return
        excess += MOST_INTERVALS // 8
        for number in sorted(self._days):
            day = self._days[number]
            count = min(excess, len(day.lows))
            self._forget_first(day, count)
            excess -= count
        self._days = {number: day for number, day in self._days.items() if day.lows}

    def _forget_first(self, day: _Day, count: int) -> None:
        if count and self._top and day.highs[count - 1] == self._top[0]:
            count -= 1
        if count:
            self.floor_id = max(self.floor_id, day.forget_first(count) + 1)
            if self.left and self.left[0] < self.floor_id:
                self.left = None

    def _note(self, new: Interval) -> list[Hole]:
        """Note unseen ids; above all others they may open a hole."""
        day = self._days.get(new.day)
        if day is None:
            day = self._days[new.day] = _Day()
        day.insert(new)
        top = self._top
        if top is None or new.high > top[0]:
            self._top = new.high, new.high_us
        return [_hole(*top, new)] if top and new.low > top[0] + 1 else []


def _hole(left_id: int, left_us: int, right: Interval) -> Hole:
    return Hole(left_id + 1, right.low - 1, min(left_us, right.low_us), max(left_us, right.low_us))
