"""What was read and may not be stored yet: stamps by symbol and UTC day. Pure.

    trades read ─► young ─► old ─► dropped
                     └───────┴───► doubted ─► dropped, once the doubt is over

The writers store in the order of the stream. Once they have passed the entry that was the last one read when `young` began,
all of `old` is stored, and `young` becomes `old`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.trades import US_PER_DAY

Array = np.ndarray[Any, Any]
#: As a first stamp: there is none.
NEVER_US = int(np.iinfo(np.int64).max)


class Spans:
    """Rows (symbol's code, first stamp, last stamp): what was read of each symbol on each UTC day lies between the two."""

    def __init__(self, rows: Sequence[Sequence[int]] | Array = ()) -> None:
        self._pieces = [np.array(rows, dtype=np.int64).reshape(-1, 3)]

    def note(self, symbol: Array, event_us: Array, segments: Array) -> None:
        """Add trades sorted by (symbol, event_us); each symbol's begin at `segments`. Costs a few steps a batch, none a trade."""
        lasts = np.append(segments[1:], len(symbol)) - 1
        if (event_us[segments] // US_PER_DAY != event_us[lasts] // US_PER_DAY).any():
            days = event_us // US_PER_DAY
            begins = np.flatnonzero((symbol[1:] != symbol[:-1]) | (days[1:] != days[:-1])) + 1
            segments = np.concatenate(([0], begins))
            lasts = np.append(begins, len(symbol)) - 1
        self._pieces.append(np.column_stack((symbol[segments], event_us[segments], event_us[lasts])))

    @property
    def rows(self) -> Array:
        """A row of each symbol and day, in this order; shape (n, 3)."""
        if len(self._pieces) > 1:
            self._pieces = [_joined(np.concatenate(self._pieces))]
        return self._pieces[0]

    def add(self, *others: "Spans") -> None:
        """Add what others have."""
        self._pieces += [other.rows for other in others]

    def of_symbol(self, code: int, new_code: int) -> "Spans":
        """What it has of a symbol, under another code."""
        rows = self.rows[self.rows[:, 0] == code]
        rows[:, 0] = new_code
        return Spans(rows)

    def first_by_day(self) -> dict[tuple[int, int], int]:
        """The first stamp of each (code, UTC day)."""
        return {(code, first_us // US_PER_DAY): first_us for code, first_us, _ in self.rows.tolist()}


class Unstored:
    """What was read, by its chance of being stored."""

    def __init__(self, *spans: Sequence[Sequence[int]]) -> None:
        self.young, self.old, self.doubted = map(Spans, spans or ((), (), ()))

    def note_stored(self) -> None:
        """All that was read before the last call is stored."""
        self.young, self.old = Spans(), self.young

    def doubt(self) -> Spans:
        """What was read may never be stored: answers all of it that was not doubted before."""
        feared = Spans()
        feared.add(self.young, self.old)
        self.doubted.add(feared)
        self.young, self.old = Spans(), Spans()
        return feared

    def trust(self) -> None:
        """What was lost is known."""
        self.doubted = Spans()

    def first_us(self, symbols: int) -> Array:
        """Of each code below `symbols`, the first stamp that may not be stored; `NEVER_US` where all are."""
        first = np.full(symbols, NEVER_US)
        for spans in (self.young, self.old):
            np.minimum.at(first, spans.rows[:, 0], spans.rows[:, 1])
        return first

    def take_over(self, other: "Unstored", code: int, new_code: int) -> None:
        """Add what another has of a symbol."""
        for mine, theirs in zip(self._all(), other._all(), strict=True):
            mine.add(theirs.of_symbol(code, new_code))

    def to_json(self) -> list[list[list[int]]]:
        """What the constructor takes."""
        return [spans.rows.tolist() for spans in self._all()]

    def _all(self) -> tuple[Spans, ...]:
        return self.young, self.old, self.doubted


def _joined(rows: Array) -> Array:
    days = rows[:, 1] // US_PER_DAY
    order = np.lexsort((days, rows[:, 0]))
    rows, days = rows[order], days[order]
    begins = np.concatenate(([True], (rows[1:, 0] != rows[:-1, 0]) | (days[1:] != days[:-1])))[: len(rows)]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return rows
    first_us, last_us = np.minimum.reduceat(rows[:, 1], starts), np.maximum.reduceat(rows[:, 2], starts)
    return np.column_stack((rows[starts, 0], first_us, last_us))
