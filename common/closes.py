"""Stored closes of several symbols side by side.

Rows are the stamps at which one of them has a bar. A symbol without a bar carries its last close for at most the staleness
limit, as legs of pairs do, and then has no price. Only bars up to where every symbol is closed count, so that no row changes
once the next bars come; a symbol whose watermark is further behind than the staleness limit holds nobody up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from psycopg2.extensions import cursor as Cursor

from common.timeframes import timeframe_us
from common.trades import from_us, to_us

Array = np.ndarray[Any, Any]
_NEWEST = """
SELECT wanted.symbol, bar.timestamp, bar.close FROM unnest(%(symbols)s::text[]) AS wanted (symbol),
LATERAL (SELECT timestamp, close FROM processed_bars b WHERE b.symbol = wanted.symbol AND timeframe = %(timeframe)s
    AND timestamp <= %(last)s ORDER BY timestamp DESC LIMIT %(bars)s) AS bar
ORDER BY wanted.symbol, bar.timestamp
"""


class Line(NamedTuple):
    """One symbol's bars, oldest first: starts (int64, us) and closes (float64)."""

    starts_us: Array
    closes: Array


NO_BARS = Line(np.zeros(0, dtype=np.int64), np.zeros(0))


class Aligned(NamedTuple):
    """Closes by row: `starts_us` (m), `closes` (symbols x m; NaN: no price), `carried` (symbols x m): not of a bar of its own."""

    starts_us: Array
    closes: Array
    carried: Array


def closed_until_us(watermarks: Mapping[str, int], symbols: Sequence[str], stale_us: int) -> int | None:
    """Every bar of these symbols that ends at or before it is closed; None if none of them was ever traded."""
    closed = [watermarks[symbol] for symbol in symbols if symbol in watermarks]
    return min(at for at in closed if at >= max(closed) - stale_us) if closed else None


def newest_lines(cursor: Cursor, timeframe: str, symbols: Sequence[str], until_us: int, bars: int) -> dict[str, Line]:
    """The newest `bars` bars of each symbol that end at or before `until_us`; a symbol without any is left out."""
    last_us = until_us - timeframe_us(timeframe)
    if last_us < 0:
        return {}
    cursor.execute(_NEWEST, {"symbols": list(symbols), "timeframe": timeframe, "last": from_us(last_us), "bars": bars})
    found: dict[str, tuple[list[int], list[float]]] = {}
    for symbol, timestamp, close in cursor.fetchall():
        starts, closes = found.setdefault(symbol, ([], []))
        starts.append(to_us(timestamp))
        closes.append(float(close))
    return {symbol: Line(np.array(starts, dtype=np.int64), np.array(closes)) for symbol, (starts, closes) in found.items()}


def align(lines: Sequence[Line], stale_us: int, rows: int, complete: bool) -> Aligned:
    """The newest `rows` rows of some symbols' bars; `complete` leaves out rows in which one of them has no price."""
    starts = np.unique(np.concatenate([line.starts_us for line in lines])) if lines else np.zeros(0, dtype=np.int64)
    if not complete:
        starts = starts[-rows:]
    closes, carried = np.full((len(lines), len(starts)), np.nan), np.ones((len(lines), len(starts)), dtype=bool)
    for number, line in enumerate(lines):
        at = np.searchsorted(line.starts_us, starts, side="right") - 1
        known = at >= 0
        age = starts[known] - line.starts_us[at[known]]
        closes[number, known] = np.where(age <= stale_us, line.closes[at[known]], np.nan)
        carried[number, known] = age > 0
    if complete:
        full = np.flatnonzero(~np.isnan(closes).any(axis=0))[-rows:]
        return Aligned(starts[full], closes[:, full], carried[:, full])
    return Aligned(starts, closes, carried)
