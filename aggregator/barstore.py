"""Closed bars into `processed_bars`: the one way, from memory or from a rebuild.

Rows are staged in `closing`; `settle` writes those that are new or differ, keeps what it replaces in `bar_revisions`, and answers
what changed. `revision` rises only where a value did.
"""

import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from aggregator.core import Closed
from aggregator.keeping import keep
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.partitions import ensure_month_leaves
from common.trades import from_us

_VALUES = (
    "open", "high", "low", "close", "volume", "tick_count", "quote_volume", "taker_buy_volume",
    "taker_buy_quote_volume", "first_trade_id", "last_trade_id",
)  # fmt: skip
STAGED = ("symbol", "timeframe", "timestamp", *_VALUES, "status")
_KEY = "symbol, timeframe, timestamp"
_STAGE = f"""CREATE TEMPORARY TABLE IF NOT EXISTS closing ON COMMIT DELETE ROWS
AS SELECT {", ".join(STAGED)} FROM processed_bars WITH NO DATA"""  # noqa: S608
_COPY = f"COPY closing ({', '.join(STAGED)}) FROM STDIN"
_OLD, _NEW = (", ".join(f"{table}.{name}" for name in _VALUES) for table in ("b", "c"))
_DIFFERS = f"({_OLD}) IS DISTINCT FROM ({_NEW})"
_REVISION_COLUMNS = f"{_KEY}, {', '.join(_VALUES)}, vwap, status, revision, written_at"
_INSERT = f"""
INSERT INTO processed_bars ({_KEY}, {", ".join(_VALUES)}, vwap, status)
SELECT {_KEY}, {", ".join(_VALUES)}, quote_volume / volume, status FROM closing
"""  # noqa: S608
_STAGED_AND_OTHER = f"""
WHERE b.timestamp BETWEEN (SELECT min(timestamp) FROM closing) AND (SELECT max(timestamp) FROM closing) AND {_DIFFERS}
"""  # noqa: S608
_NEWEST_KEPT = """(SELECT max(r.revision) FROM bar_revisions r
    WHERE (r.symbol, r.timeframe, r.timestamp) = ({of}.symbol, {of}.timeframe, {of}.timestamp))"""
#: Bars that had come back once began at 0 again. Where one of them is refused beside what is kept, it is lifted above that.
LIFT = f"""
UPDATE processed_bars b SET revision = {_NEWEST_KEPT.format(of="b")} + 1
{{of}} AND b.revision <= {_NEWEST_KEPT.format(of="b")}
"""  # noqa: S608
_LIFT_OLD = LIFT.format(
    of=f"FROM closing c {_STAGED_AND_OTHER} AND (b.symbol, b.timeframe, b.timestamp) = (c.symbol, c.timeframe, c.timestamp)"
)
_KEEP_OLD = f"""
INSERT INTO bar_revisions ({_REVISION_COLUMNS})
SELECT {", ".join(f"b.{name.strip()}" for name in _REVISION_COLUMNS.split(","))} FROM processed_bars b
JOIN closing c ON (b.symbol, b.timeframe, b.timestamp) = (c.symbol, c.timeframe, c.timestamp)
{_STAGED_AND_OTHER}
"""  # noqa: S608
_EXCLUDED = ", ".join(f"{name} = excluded.{name}" for name in (*_VALUES, "vwap", "status"))
_EXCLUDED_DIFFERS = _DIFFERS.replace("c.", "excluded.")
_SETTLE = f"""
WITH known AS MATERIALIZED (SELECT {_KEY} FROM closing JOIN processed_bars USING ({_KEY})),
kept AS MATERIALIZED (
SELECT {_KEY}, max(r.revision) AS newest
FROM (SELECT symbol, timeframe, min(timestamp) AS first, max(timestamp) AS last FROM closing GROUP BY symbol, timeframe) AS staged
JOIN bar_revisions r USING (symbol, timeframe) WHERE r.timestamp BETWEEN first AND last GROUP BY {_KEY}),
settled AS (
INSERT INTO processed_bars AS b ({_KEY}, {", ".join(_VALUES)}, vwap, status, revision)
SELECT {_KEY}, {", ".join(_VALUES)}, quote_volume / volume, status, coalesce(newest + 1, 0)
FROM closing LEFT JOIN kept USING ({_KEY})
ON CONFLICT ({_KEY}) DO UPDATE SET {_EXCLUDED}, written_at = now(), revision = b.revision + ({_EXCLUDED_DIFFERS})::integer
WHERE {_EXCLUDED_DIFFERS} OR b.status <> excluded.status
RETURNING {_KEY}, revision)
SELECT {_KEY}, revision, NOT EXISTS (SELECT 1 FROM known k WHERE (k.symbol, k.timeframe, k.timestamp)
    = (settled.symbol, settled.timeframe, settled.timestamp)) FROM settled
"""  # noqa: S608


class Settled(NamedTuple):
    """A bar that is new, or that has changed."""

    symbol: str
    timeframe: str
    timestamp: datetime
    revision: int
    is_new: bool


class BarLeaves:
    """Makes the month leaves that bars need, once each."""

    def __init__(self) -> None:
        self._months: set[tuple[int, int]] = set()

    def ensure(self, connection: Connection, stamps_us: Iterable[int]) -> None:
        """Before the transaction that writes bars of these stamps."""
        days = {from_us(stamp).date() for stamp in stamps_us}
        if not {(day.year, day.month) for day in days} <= self._months:
            ensure_month_leaves(connection, days)
            self._months |= {(day.year, day.month) for day in days}


def open_staging(cursor: Cursor) -> None:
    """Make this session's `closing`, emptied at each commit."""
    cursor.execute(_STAGE)


def stage(cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols) -> None:
    """Copy closed bars into `closing`."""
    open_staging(cursor)
    lines = [line for timeframe, rows in closed.items() for line in _lines(timeframe, rows, symbols)]
    cursor.copy_expert(_COPY, io.StringIO("".join(lines)))


def settle_new(cursor: Cursor) -> bool:
    """Write what is staged if all of it is new, at half the price of `settle`; False: some is not, and nothing was written."""
    try:
        cursor.execute(f"SAVEPOINT new_bars; {_INSERT}")
    except errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT new_bars")
        return False
    return True


def settle(cursor: Cursor) -> list[Settled]:
    """Write what is staged; answers the bars that are new or changed."""
    keep(cursor, _KEEP_OLD, _LIFT_OLD)
    cursor.execute(_SETTLE)
    return [Settled(*row) for row in cursor.fetchall()]


def _lines(timeframe: str, closed: Closed, symbols: Symbols) -> Iterable[str]:
    """COPY text; a whole number at a scale is written as `123e-2`, which numeric reads exactly."""
    columns = [column.tolist() for column in closed.bars.columns()]
    rows = zip(*columns, closed.status, strict=True)
    for code, start, o, h, low, c, volume, taker, quote, taker_quote, count, _, _, first_id, _, _, last_id, status in rows:
        p, s = f"e-{symbols.price_scale[code]}", f"e-{symbols.size_scale[code]}"
        q = f"e-{symbols.price_scale[code] + symbols.size_scale[code]}"
        yield (
            f"{symbols.names[code]}\t{timeframe}\t{iso_us(start)}\t{o}{p}\t{h}{p}\t{low}{p}\t{c}{p}\t{volume}{s}\t{count}"
            f"\t{quote}{q}\t{taker}{s}\t{taker_quote}{q}\t{first_id}\t{last_id}\t{status}\n"
        )


def is_serialization(exc: psycopg2.Error) -> bool:
    """True for a conflict that a repeat resolves."""
    return exc.pgcode in ("40001", "40P01")
