"""Laws 1 and 2 by ids: exchange ids of a symbol follow on each other; what is missing is a known gap; no id is on two days."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from common.trades import US_PER_DAY, from_us, to_us
from ops.verify.report import Finding

_EXTENT = """
SELECT min(trade_id), max(trade_id), count(*) FROM raw_ticks
WHERE symbol = %s AND trade_id >= 0 AND timestamp >= %s AND timestamp < %s
"""
_RUNS = """
SELECT min(trade_id), max(trade_id) FROM (
    SELECT trade_id, trade_id - row_number() OVER (ORDER BY trade_id) AS run FROM raw_ticks
    WHERE symbol = %s AND trade_id >= 0 AND timestamp >= %s AND timestamp < %s) AS placed
GROUP BY run ORDER BY 1
"""
_STORED = "SELECT DISTINCT trade_id FROM raw_ticks WHERE symbol = %s AND trade_id BETWEEN %s AND %s ORDER BY trade_id"
_STAMPS = "SELECT min(timestamp), max(timestamp) FROM raw_ticks WHERE symbol = %s AND trade_id IN (%s, %s)"
_KNOWN_GAPS = "SELECT first_id, last_id FROM gaps WHERE symbol = %s AND state <> 'closed' ORDER BY first_id"


class Run(NamedTuple):
    """Ids `low..high` of one UTC day, all stored."""

    low: int
    high: int
    day: int


class Ids(NamedTuple):
    """Ids `low..high`."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low} to {self.high} ({self.high - self.low + 1:,} ids)"


def runs_of_day(cursor: Cursor, symbol: str, day: int) -> list[Run]:
    """The runs of a day's exchange ids; mostly one, known without sorting."""
    of_day = (symbol, from_us(day * US_PER_DAY), from_us((day + 1) * US_PER_DAY))
    cursor.execute(_EXTENT, of_day)
    row = cursor.fetchone()
    assert row, "an aggregate answers a row"
    low, high, count = row
    if not count:
        return []
    if high - low + 1 == count:
        return [Run(low, high, day)]
    cursor.execute(_RUNS, of_day)
    return [Run(first, last, day) for first, last in cursor.fetchall()]


def repeated_ids(runs: Iterable[Run]) -> list[tuple[Ids, int, int]]:
    """Ids that two days have, and the days.

    >>> repeated_ids([Run(1, 9, 0), Run(8, 12, 1)])
    [(Ids(low=8, high=9), 0, 1)]
    """
    found: list[tuple[Ids, int, int]] = []
    reaching: list[Run] = []
    for run in sorted(runs):
        reaching = [before for before in reaching if before.high >= run.low]
        found += [(Ids(run.low, min(before.high, run.high)), before.day, run.day) for before in reaching]
        reaching.append(run)
    return found


def holes(runs: Iterable[Run]) -> list[tuple[Ids, int, int]]:
    """Ids between runs that no day has, and the days on both sides.

    >>> holes([Run(1, 4, 0), Run(7, 9, 0)])
    [(Ids(low=5, high=6), 0, 0)]
    """
    found = []
    until: Run | None = None
    for run in sorted(runs):
        if until and run.low > until.high + 1:
            found.append((Ids(until.high + 1, run.low - 1), until.day, run.day))
        if until is None or run.high > until.high:
            until = run
    return found


def without(ids: Ids, covered: Iterable[tuple[int, int]]) -> list[Ids]:
    """What is left of some ids without those in `covered` ranges (ascending).

    >>> without(Ids(1, 9), [(3, 4), (9, 20)])
    [Ids(low=1, high=2), Ids(low=5, high=8)]
    """
    left, at = [], ids.low
    for low, high in covered:
        if high >= at and low <= ids.high:
            if low > at:
                left.append(Ids(at, low - 1))
            at = max(at, high + 1)
    return [*left, Ids(at, ids.high)] if at <= ids.high else left


def still_missing(cursor: Cursor, symbol: str, hole: Ids) -> list[Ids]:
    """What of a hole is neither stored by now nor in a known gap."""
    cursor.execute(_KNOWN_GAPS, (symbol,))
    left = without(hole, cursor.fetchall())
    missing: list[Ids] = []
    for ids in left:
        cursor.execute(_STORED, (symbol, *ids))
        missing += without(ids, [(stored, stored) for (stored,) in cursor.fetchall()])
    return missing


def missing_finding(cursor: Cursor, symbol: str, ids: Ids) -> Finding:
    """Ids that are missing, between the stamps of the trades around them."""
    cursor.execute(_STAMPS, (symbol, ids.low - 1, ids.high + 1))
    row = cursor.fetchone()
    first, last = row if row and row[0] else (None, None)
    between = f", between {first:%Y-%m-%dT%H:%M:%S.%fZ} and {last:%Y-%m-%dT%H:%M:%S.%fZ}" if first else ""
    what = f"{symbol} ids {ids} are missing and no gap is recorded{between}"
    return Finding(what, symbol, to_us(first) if first else None, to_us(last) if last else None, (ids.low, ids.high))


def repeat_finding(symbol: str, ids: Ids, days: tuple[int, int]) -> Finding:
    """The same ids on two days."""
    one, two = (f"{from_us(day * US_PER_DAY):%Y-%m-%d}" for day in sorted(days))
    return Finding(f"{symbol} ids {ids} are stored on {one} and on {two}", symbol, ids=(ids.low, ids.high))


def is_unfed(hole_days: tuple[int, int], days_with_ticks: Sequence[int]) -> bool:
    """True where whole days without any trade lie in a hole: nobody fed these days, which is not a loss."""
    inside = [day for day in days_with_ticks if hole_days[0] <= day <= hole_days[1]]
    return any(later - earlier > 1 for earlier, later in pairwise(inside))
