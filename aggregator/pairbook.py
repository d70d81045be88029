"""Pair rows over stored bars: what the tasks compute, with the same functions as the live stage and so the same rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.barstore import BarLeaves
from aggregator.legs import LegBar, Legs, Row
from aggregator.pairs import pair_statistics
from aggregator.pairstage import PairKey
from common.codec import iso_us
from common.database import transaction
from common.settings import Settings
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us
from common.view import committed_view

_COLUMNS = (
    "symbol1_price", "symbol2_price", "hedge_ratio", "intercept", "spread", "rolling_mean", "rolling_std", "z_score",
    "correlation", "carried", "has_gap",
)  # fmt: skip
_OLD, _NEW = (", ".join(f"{table}.{name}" for name in _COLUMNS) for table in ("s", "excluded"))
_UPSERT = f"""
INSERT INTO spread_analytics AS s (symbol_pair, timeframe, window_bars, method, timestamp, {", ".join(_COLUMNS)}) VALUES %s
ON CONFLICT (symbol_pair, timeframe, window_bars, method, timestamp) DO UPDATE SET
    ({", ".join(_COLUMNS)}) = ({_NEW}), revision = s.revision + 1
WHERE ({_OLD}) IS DISTINCT FROM ({_NEW})
RETURNING 1
"""  # noqa: S608
_BARS = """
SELECT timestamp, close, status FROM processed_bars
WHERE symbol = %s AND timeframe = %s AND timestamp >= %s AND timestamp < %s ORDER BY timestamp
"""
_CONTEXT = """
SELECT min(timestamp) FROM (SELECT timestamp FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp < %s
    ORDER BY timestamp DESC LIMIT %s) AS before
"""
_AFTER = """
SELECT max(timestamp) FROM (
    SELECT timestamp FROM spread_analytics WHERE symbol_pair = %(pair)s AND timeframe = %(timeframe)s
        AND window_bars = %(window)s AND method = 'ols' AND timestamp >= %(changed)s AND timestamp <= %(carried)s
    UNION ALL (SELECT timestamp FROM spread_analytics WHERE symbol_pair = %(pair)s AND timeframe = %(timeframe)s
        AND window_bars = %(window)s AND method = 'ols' AND timestamp > %(carried)s ORDER BY timestamp LIMIT %(rows)s)) AS after
"""
_BEGUN = """
SELECT EXISTS (SELECT 1 FROM processed_bars y JOIN processed_bars x USING (timeframe, timestamp)
    WHERE y.symbol = %s AND x.symbol = %s AND timeframe = %s AND timestamp < %s)
"""
CHUNK_ROWS = 5_000


class Written(NamedTuple):
    """Rows computed, and how many of them are new or changed."""

    rows: int
    changed: int


def compute_pair(
    connection: Connection, leaves: BarLeaves, settings: Settings, key: PairKey, symbols: tuple[str, str],
    first_us: int | None = None, last_us: int | None = None,
) -> Written:  # fmt: skip
    """Write the rows over stored bars with `first_us <= t <= last_us` (None: from the first bar, to the last)."""
    with transaction(connection), connection.cursor() as cursor:
        since_us = _context_start(cursor, settings, key, symbols, first_us)
        rows = _rows(cursor, settings, key, symbols, since_us, last_us)
    if not rows:
        return Written(0, 0)
    y, x = (np.array([getattr(row, leg).close for row in rows]) for leg in ("y", "x"))
    values = pair_statistics(y, x, np.zeros(0), key.window, len(rows)).rows()
    wanted = [(row, value) for row, value in zip(rows, values, strict=True) if first_us is None or row.start_us >= first_us]
    leaves.ensure(connection, {row.start_us - row.start_us % US_PER_DAY for row, _ in wanted})
    changed = 0
    for at in range(0, len(wanted), CHUNK_ROWS):
        changed += _write(connection, key, wanted[at : at + CHUNK_ROWS])
    return Written(len(wanted), changed)


def touched_until_us(cursor: Cursor, key: PairKey, changed_us: int, stale_us: int) -> int | None:
    """Last stored row that a change of the bar at `changed_us` can reach; None if no row is as late as the bar.

    The bar's close may be carried for `stale_us`; a row with it is in the windows of two windows more.
    """
    changed, carried = from_us(changed_us), from_us(changed_us + stale_us)
    cursor.execute(_AFTER, {**key._asdict(), "changed": changed, "carried": carried, "rows": 2 * key.window})
    row = cursor.fetchone()
    return to_us(row[0]) if row and row[0] else None


def _context_start(
    cursor: Cursor, settings: Settings, key: PairKey, symbols: tuple[str, str], first_us: int | None
) -> int:
    """Far enough back that the first wanted row has its two full windows, and its carried legs."""
    if first_us is None:
        return 0
    starts = []
    for symbol in symbols:
        cursor.execute(_CONTEXT, (symbol, key.timeframe, from_us(first_us), 2 * key.window))
        row = cursor.fetchone()
        starts.append(to_us(row[0]) if row and row[0] else first_us)
    return max(0, min(starts) - settings.stale_leg_s * 1_000_000)


def _rows(
    cursor: Cursor, settings: Settings, key: PairKey, symbols: tuple[str, str], since_us: int, last_us: int | None
) -> list[Row]:
    length_us = timeframe_us(key.timeframe)
    closed = committed_view(cursor, settings).watermarks
    cursor.execute(_BEGUN, (*symbols, key.timeframe, from_us(since_us)))
    begun = cursor.fetchone()
    legs = Legs(length_us, settings.stale_leg_s * 1_000_000, begun=bool(begun and begun[0]))
    for leg, symbol in zip((legs.y, legs.x), symbols, strict=True):
        leg.closed_us = min(closed.get(symbol, -1), 2**62 if last_us is None else last_us + length_us)
        if leg.closed_us > 0:
            cursor.execute(_BARS, (symbol, key.timeframe, from_us(since_us), from_us(leg.closed_us)))
            for timestamp, close, status in cursor.fetchall():
                leg.add(LegBar(to_us(timestamp), str(close), float(close), status == "gap"))
    return legs.rows()


def _write(
    connection: Connection, key: PairKey, rows: Sequence[tuple[Row, tuple[float | None, ...]]]
) -> int:
    lines = [
        (*key, "ols", iso_us(row.start_us), row.y.close_text, row.x.close_text, *values, row.carried, row.has_gap)
        for row, values in rows
    ]
    with transaction(connection), connection.cursor() as cursor:
        return len(execute_values(cursor, _UPSERT, lines, page_size=CHUNK_ROWS, fetch=True))
