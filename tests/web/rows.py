"""Rows for the read routes, put there by SQL as the services would."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.partitions import ensure_month_leaves, ensure_tick_leaves

AT = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


def second(number: float) -> datetime:
    """A moment so many seconds after `AT`."""
    return AT + timedelta(seconds=number)


def add_source(database: Connection, symbol: str, src: str = "binance.trade") -> None:
    """Register a symbol."""
    with database, database.cursor() as cursor:
        cursor.execute("INSERT INTO sources (symbol, src) VALUES (%s, %s) ON CONFLICT DO NOTHING", (symbol, src))


def add_ticks(database: Connection, symbol: str, ticks: Sequence[tuple[Any, ...]]) -> None:
    """Store ticks (trade_id, moment, price, size, side, seq)."""
    add_source(database, symbol)
    ensure_tick_leaves(database, {tick[1].date() for tick in ticks})
    rows = [(symbol, *tick) for tick in ticks]
    with database, database.cursor() as cursor:
        execute_values(cursor, "INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size, side, seq) VALUES %s", rows)


def add_bars(database: Connection, symbol: str, starts: Sequence[datetime], timeframe: str = "1s", tick_count: int = 1) -> None:
    """Store bars whose close is 100 plus their place."""
    add_source(database, symbol)
    ensure_month_leaves(database, {start.date() for start in starts})
    rows = [
        (symbol, timeframe, start, 100, 100 + n, 99.5, 100 + n, "0.10", tick_count, 10, 100, 0, 1, 2, "complete")
        for n, start in enumerate(starts)
    ]
    with database, database.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO processed_bars (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume,"
            " vwap, taker_buy_volume, first_trade_id, last_trade_id, status) VALUES %s",
            rows,
        )


def add_pair_rows(database: Connection, pair: str, rows: Sequence[dict[str, Any]]) -> None:
    """Store pair rows; what a row doesn't say has a plain value."""
    ensure_month_leaves(database, {row["timestamp"].date() for row in rows})
    plain = {"timeframe": "1s", "window_bars": 60, "symbol1_price": 43000.5, "symbol2_price": 2200}
    with database, database.cursor() as cursor:
        for row in rows:
            full = {"symbol_pair": pair, **plain, **row}
            names, places = ", ".join(full), ", ".join(f"%({name})s" for name in full)
            cursor.execute(f"INSERT INTO spread_analytics ({names}) VALUES ({places})", full)  # noqa: S608 - names of this file


def add_stats(database: Connection, symbol: str, rows: Sequence[tuple[datetime, float | None]], window: int = 20) -> None:
    """Store statistics (moment, returns)."""
    ensure_month_leaves(database, {row[0].date() for row in rows})
    with database, database.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO price_stats (symbol, timeframe, window_bars, timestamp, returns, volume_ma) VALUES %s",
            [(symbol, "1s", window, at, returns, 0.0) for at, returns in rows],
        )


def add_scan(database: Connection, finished: datetime | None, rows: Sequence[tuple[Any, ...]]) -> str:
    """Store a scan: (pair, p-value, half-life, z, correlation)."""
    scan_id = str(uuid.uuid4())
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO scan_runs (scan_id, timeframe, window_bars, symbols, computed_on, pairs, finished_at)"
            " VALUES (%s, '1s', 60, '{A,B,C}', %s, %s, %s)", (scan_id, second(5), len(rows), finished),
        )  # fmt: skip
        for pair, *values in rows:
            cursor.execute(
                "INSERT INTO pair_scans (scan_id, symbol_pair, symbol1, symbol2, rows, carried, coint_pvalue, half_life, z_score,"
                " correlation) VALUES (%s, %s, %s, %s, 60, 0, %s, %s, %s, %s)", (scan_id, pair, *pair.split("_"), *values),
            )  # fmt: skip
    return scan_id
