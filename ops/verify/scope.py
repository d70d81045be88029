"""What there is to check: symbols and UTC days that hold ticks or bars, within what was asked for and what retention keeps."""

import time
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from common.partitions import leaf_ranges
from common.settings import Settings
from common.timeframes import TIMEFRAMES_S
from common.trades import US_PER_DAY, from_us, utc_day

_EPOCH = date(1970, 1, 1)
#: Symbols of a day's leaf, by hops over its index instead of a scan.
_HOP = """
WITH RECURSIVE found AS (
    (SELECT symbol FROM raw_ticks WHERE timestamp >= %(start)s AND timestamp < %(end)s ORDER BY symbol LIMIT 1)
    UNION ALL SELECT (SELECT t.symbol FROM raw_ticks t WHERE timestamp >= %(start)s AND timestamp < %(end)s
        AND t.symbol > found.symbol ORDER BY t.symbol LIMIT 1) FROM found WHERE found.symbol IS NOT NULL)
SELECT symbol FROM found WHERE symbol IS NOT NULL
"""
_SCAN = """
SELECT DISTINCT symbol, (timestamp AT TIME ZONE 'UTC')::date FROM raw_ticks WHERE timestamp >= %(start)s AND timestamp < %(end)s
"""
_BARS = """
SELECT DISTINCT symbol, (timestamp AT TIME ZONE 'UTC')::date FROM processed_bars
WHERE timestamp >= %(start)s AND timestamp < %(end)s
"""


class Asked(NamedTuple):
    """What a person asked for: days `[first_day, end_day)` since 1970, one symbol or (None) all."""

    first_day: int = 0
    end_day: int = 2**20
    symbol: str | None = None

    @property
    def is_everything(self) -> bool:
        """True where nothing was left out."""
        return self == Asked()

    def kept(self, settings: Settings, now_s: float) -> "Asked":
        """Without the days that a retention has dropped or may be dropping."""
        days = [days for days in (settings.tick_retention_days, settings.bar_retention_days) if days]
        oldest = utc_day(int(now_s) * 1_000_000) - min(days) + 1 if days else 0
        return self._replace(first_day=max(self.first_day, oldest))


def symbol_days(cursor: Cursor, settings: Settings, asked: Asked) -> dict[str, list[int]]:
    """By symbol, the days since 1970 that hold ticks or bars, oldest first."""
    asked = asked.kept(settings, time.time())
    found: set[tuple[str, int]] = set()
    for first, end in leaf_ranges(cursor, "raw_ticks"):
        bounds = _within(asked, first, end)
        if bounds and (end - first).days == 1:
            cursor.execute(_HOP, bounds)
            found |= {(symbol, _number(first)) for (symbol,) in cursor.fetchall()}
        elif bounds:
            cursor.execute(_SCAN, bounds)
            found |= {(symbol, _number(day)) for symbol, day in cursor.fetchall()}
    for first, end in leaf_ranges(cursor, "processed_bars"):
        if bounds := _within(asked, first, end):
            cursor.execute(_BARS, bounds)
            found |= {(symbol, _number(day)) for symbol, day in cursor.fetchall()}
    by_symbol: dict[str, list[int]] = {}
    for symbol, day in sorted(found):
        if asked.symbol in (None, symbol):
            by_symbol.setdefault(symbol, []).append(day)
    return by_symbol


def asked_days(first_us: int | None, end_us: int | None, symbol: str | None) -> Asked:
    """Whole UTC days that hold stamps in `[first_us, end_us)`; None: no bound."""
    everything = Asked()
    first = everything.first_day if first_us is None else utc_day(first_us)
    end = everything.end_day if end_us is None else utc_day(end_us - 1) + 1
    return Asked(first, end, symbol)


def all_timeframes(cursor: Cursor, configured: Iterable[str]) -> list[str]:
    """Those that are built, and those that are stored all the same (computed by hand, or built once)."""
    cursor.execute(
        "SELECT name FROM unnest(%s) AS name WHERE EXISTS (SELECT 1 FROM processed_bars WHERE timeframe = name"
        " AND symbol IN (SELECT symbol FROM sources UNION SELECT key FROM checkpoints, jsonb_each_text(watermarks)))",
        (list(TIMEFRAMES_S),),
    )
    names = {*configured, *[name for (name,) in cursor.fetchall()]}
    return [name for name in TIMEFRAMES_S if name in names]


def _within(asked: Asked, first: date, end: date) -> dict[str, object] | None:
    start, stop = max(asked.first_day, _number(first)), min(asked.end_day, _number(end))
    return {"start": from_us(start * US_PER_DAY), "end": from_us(stop * US_PER_DAY)} if start < stop else None


def _number(day: date) -> int:
    return (day - _EPOCH) // timedelta(days=1)
