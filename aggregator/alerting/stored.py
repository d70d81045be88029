"""Rows of a series where they are stored: what a rule looks back on, and what is read again for a row that came late."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from aggregator.alerting.series import Row, SeriesKey
from common.trades import from_us, to_us

#: Of each source: columns, table, and what makes the series.
_BAR = ("close", "volume", "status")
_PAIR = (
    "z_score", "spread", "rolling_mean", "rolling_std", "correlation", "hedge_ratio", "symbol1_price", "symbol2_price", "carried",
    "has_gap",
)  # fmt: skip
_TEST = ("statistic", "pvalue", "is_cointegrated")
_SOURCES = {
    "bar": (_BAR, "processed_bars", "symbol = %s AND timeframe = %s"),
    "pair": (_PAIR, "spread_analytics", "symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s"),
    "test": (
        _TEST, "pair_tests",
        "symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND tested_at IS NOT NULL",
    ),
}  # fmt: skip
_NUMBERS = ("close", "volume", "symbol1_price", "symbol2_price")
FOREVER_US = 4_000_000_000_000_000


def rows_before(cursor: Cursor, key: SeriesKey, end_us: int, count: int, without: Collection[int] = ()) -> list[Row]:
    """The last `count` rows that start before `end_us`, oldest first; those in `without` are left out (and count)."""
    columns, table, series = _SOURCES[key.source]
    statement = (
        f"SELECT timestamp, {', '.join(columns)} FROM {table} WHERE {series} AND timestamp < %s"  # noqa: S608
        " ORDER BY timestamp DESC LIMIT %s"
    )
    cursor.execute(statement, (*_of(key), from_us(min(end_us, FOREVER_US)), count + len(without)))
    rows = [_row(columns, row) for row in cursor.fetchall()[::-1]]
    return [row for row in rows if row["us"] not in without][-count:]


def rows_between(cursor: Cursor, key: SeriesKey, first_us: int, last_us: int) -> list[Row]:
    """The rows with `first_us <= start <= last_us`, oldest first."""
    columns, table, series = _SOURCES[key.source]
    statement = (
        f"SELECT timestamp, {', '.join(columns)} FROM {table} WHERE {series} AND timestamp >= %s AND timestamp <= %s"  # noqa: S608
        " ORDER BY timestamp"
    )
    cursor.execute(statement, (*_of(key), from_us(first_us), from_us(last_us)))
    return [_row(columns, row) for row in cursor.fetchall()]


def rows_at(cursor: Cursor, key: SeriesKey, stamps: Sequence[int]) -> list[Row]:
    """The rows at these stamps that are there, oldest first."""
    columns, table, series = _SOURCES[key.source]
    statement = (
        f"SELECT timestamp, {', '.join(columns)} FROM {table} WHERE {series} AND timestamp = ANY(%s::timestamptz[])"  # noqa: S608
        " ORDER BY timestamp"
    )
    cursor.execute(statement, (*_of(key), [from_us(us) for us in stamps]))
    return [_row(columns, row) for row in cursor.fetchall()]


def _of(key: SeriesKey) -> Sequence[Any]:
    return key[1:3] if key.source == "bar" else key[1:5]


def _row(columns: Sequence[str], row: tuple[Any, ...]) -> Row:
    named = dict(zip(columns, row[1:], strict=True))
    return {"us": to_us(row[0]), **{name: float(value) if name in _NUMBERS else value for name, value in named.items()}}
