"""Which ids of a symbol have been seen: contiguous exchange ids need an interval, not a set.

Pure: no clock, no I/O. An interval is a run of ids of one UTC day, with the stamps at its ends: what a hole lies between.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from common.trades import US_PER_DAY

Array = np.ndarray[Any, Any]


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


@dataclass(slots=True)
class SeenIds:
    """Seen exchange ids of one symbol, in ascending intervals; ids below `floor_id` are forgotten."""

    intervals: list[Interval] = field(default_factory=list)
    floor_id: int = 0

    def add_run(self, ids: Array, stamps: Array) -> tuple[Array, list[Hole]]:
        """Note ids in ascending order without repeats, all of one day; which are new, and the holes that they open.

        Ids below `floor_id` must not come here: nobody can tell whether they were seen (`forgets`).
        """
        low, high = int(ids[0]), int(ids[-1])
        last = self.intervals[-1] if self.intervals else None
        day = int(stamps[0]) // US_PER_DAY
        if high - low == len(ids) - 1 and (last is None or (low > last.high and last.day == day)):
            return np.ones(len(ids), dtype=bool), self._append(Interval(low, high, int(stamps[0]), int(stamps[-1])))
        new = ~self._known(ids, day)
        holes: list[Hole] = []
        fresh_ids, fresh_us = ids[new], stamps[new]
        cuts = np.flatnonzero(np.diff(fresh_ids) != 1) + 1
        for run, run_us in zip(np.split(fresh_ids, cuts), np.split(fresh_us, cuts), strict=True):
            if len(run):
                holes += self._insert(Interval(int(run[0]), int(run[-1]), int(run_us[0]), int(run_us[-1])))
        return new, holes

    def forgets(self, ids: Array) -> Array:
        """Mask of ids that may have been seen and forgotten."""
        forgotten: Array = ids < self.floor_id
        return forgotten

    def holes(self) -> list[Hole]:
        """Every hole between what is remembered."""
        pairs = zip(self.intervals, self.intervals[1:], strict=False)
        return [_hole(left, right) for left, right in pairs if right.low > left.high + 1]

    def forget_before(self, event_us: int) -> None:
        """Drop the intervals that end before a stamp, all but the last: a hole needs its left side."""
        keep = 0
        while keep < len(self.intervals) - 1 and self.intervals[keep].high_us < event_us:
            keep += 1
        if keep:
            self.floor_id = max(self.floor_id, self.intervals[keep - 1].high + 1)
            del self.intervals[:keep]

    def _known(self, ids: Array, day: int) -> Array:
        of_day = [interval for interval in self.intervals if interval.day == day]
        if not of_day:
            return np.zeros(len(ids), dtype=bool)
        lows = np.array([interval.low for interval in of_day])
        highs = np.array([interval.high for interval in of_day])
        at = np.searchsorted(lows, ids, side="right") - 1
        known: Array = (at >= 0) & (ids <= highs[np.maximum(at, 0)])
        return known

    def _append(self, new: Interval) -> list[Hole]:
        last = self.intervals[-1] if self.intervals else None
        if last and new.low == last.high + 1 and new.day == last.day:
            self.intervals[-1] = Interval(last.low, new.high, last.low_us, new.high_us)
            return []
        self.intervals.append(new)
        return [_hole(last, new)] if last and new.low > last.high + 1 else []

    def _insert(self, new: Interval) -> list[Hole]:
        """Put a run where it belongs and join it with its neighbours; a run at the end may open a hole."""
        at = bisect_right(self.intervals, new.low, key=lambda interval: interval.low)
        if at == len(self.intervals):
            return self._append(new)
        self.intervals.insert(at, new)
        for left in (at, at - 1):
            if 0 <= left < len(self.intervals) - 1:
                self._join(left)
        return []

    def _join(self, left: int) -> None:
        one, two = self.intervals[left], self.intervals[left + 1]
        if two.low == one.high + 1 and one.day == two.day:
            self.intervals[left : left + 2] = [Interval(one.low, two.high, one.low_us, two.high_us)]


def _hole(left: Interval, right: Interval) -> Hole:
    return Hole(left.high + 1, right.low - 1, min(left.high_us, right.low_us), max(left.high_us, right.low_us))
