"""`python -m bench.growth`: does a trade cost more when much is stored, with many symbols, or behind a long backlog?

Three questions, each against its own small case in the same run, on private servers with fsync on:
a backlog drained into empty tables and beside `--stored` ticks, a part of which lies in the very leaves that grow; ten symbols
and `--symbols`, at the same rate of trades; a backlog of `--trades` and one of `--backlog`, with the peak memory of each process.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection

from bench.backlog import a_house, drain, fill, leave_a_checkpoint, make_leaves
from bench.feed import made_chunks
from bench.report import medians, show
from common.database import transaction
from common.trades import US_PER_DAY, from_us
from ops.embedded import PrivateServers
from tests.pipeline import Pipeline

SECOND_US = 1_000_000
FEW_SYMBOLS = 10
#: Days over which the stored ticks lie; the last one is the day of the trades that are measured.
DAYS = 5
FILL_ROWS = 1_000_000
#: Ids from 1 on: below those of the trades that are measured.
_STORED = """
INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size, side)
SELECT 'SYM' || n %% %(symbols)s || 'USDT', n / %(symbols)s + 1, %(first)s + n * %(every_us)s * interval '1 microsecond',
    (40000 + n %% 3001)::numeric / 100, (1 + n %% 999999)::numeric / 100000, CASE WHEN n %% 3 = 0 THEN 's' ELSE 'b' END
FROM generate_series(%(from)s::bigint, %(to)s - 1) AS n
"""


def measure(trades: int, per_s: int, stored: int, symbols: int, backlog: int, runs: int) -> dict[str, Any]:
    """Answers the figures of all three, medians of the runs; the long backlog is drained once."""
    with _servers() as (servers, folder):
        empty = medians([_drained(servers, folder, f"few_{run}", trades, FEW_SYMBOLS, per_s) for run in range(runs)])
        many = medians([_drained(servers, folder, f"many_{run}", trades, symbols, per_s) for run in range(runs)])
        long = _drained(servers, folder, "long", backlog, FEW_SYMBOLS, per_s)
        full = _beside_stored(servers, folder, trades, per_s, stored, runs)
    return {
        "runs": runs,
        "stored": {"ticks": stored, **full, **_ratios(full, empty)},
        "empty": empty,
        "symbols": {"symbols": symbols, **many, **_ratios(many, empty)},
        "backlog": {**long, **_ratios(long, empty), "memory_ratio": _memory_ratios(long, empty)},
    }


@contextmanager
def _servers() -> Iterator[tuple[PrivateServers, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            yield servers, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drained(servers: PrivateServers, folder: Path, name: str, trades: int, symbols: int, per_s: int) -> dict[str, Any]:
    """A backlog into a database of its own, or the copy that `_copied` made for it; it is dropped."""
    pipeline = a_house(servers, f"gems_{name}", folder, symbols)
    try:
        return _one(pipeline, servers, trades, symbols, per_s)
    finally:
        pipeline.database.close()
        pipeline.client.close()
        _run(servers, f"DROP DATABASE gems_{name} WITH (FORCE)")


def _beside_stored(servers: PrivateServers, folder: Path, trades: int, per_s: int, stored: int, runs: int) -> dict[str, Any]:
    """Each run in a copy of one database that holds `stored` ticks; the last one in that database itself."""
    filled_per_s = _fill_template(servers, folder, stored, time.time_ns() // 1000 - trades * SECOND_US // per_s)
    found = []
    for run in range(runs):
        if run < runs - 1:
            _run(servers, f"CREATE DATABASE gems_full_{run} TEMPLATE gems_stored STRATEGY file_copy")
        else:
            _run(servers, f"ALTER DATABASE gems_stored RENAME TO gems_full_{run}")
        found.append(_drained(servers, folder, f"full_{run}", trades, FEW_SYMBOLS, per_s))
    return {"filled_per_s": filled_per_s, **medians(found)}


def _fill_template(servers: PrivateServers, folder: Path, stored: int, until_us: int) -> int:
    pipeline = a_house(servers, "gems_stored", folder, FEW_SYMBOLS)
    leave_a_checkpoint(pipeline)  # before the ticks: else the aggregator would build bars of all of them first
    began_s = time.monotonic()
    store_ticks(pipeline.database, stored, FEW_SYMBOLS, until_us)
    pipeline.database.close()
    pipeline.client.close()
    return round(stored / (time.monotonic() - began_s))


def _run(servers: PrivateServers, statement: str) -> None:
    with closing(psycopg2.connect(servers.postgres_url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def _one(pipeline: Pipeline, servers: PrivateServers, trades: int, symbols: int, per_s: int) -> dict[str, Any]:
    until_us = time.time_ns() // 1000
    make_leaves(pipeline.database, until_us - trades * SECOND_US // per_s, until_us)
    leave_a_checkpoint(pipeline)
    fill(pipeline.client, made_chunks(trades, symbols, per_s, until_us), pipeline.settings.batch_rows)
    try:
        return drain(pipeline, servers, trades)
    finally:
        pipeline.stop()
        pipeline.processes.clear()


def store_ticks(connection: Connection, count: int, symbols: int, until_us: int) -> None:
    """`count` ticks over `DAYS` days up to a moment, made by the server itself: text of 100 million rows would take an hour."""
    every_us = DAYS * US_PER_DAY // max(1, count)
    first_us = until_us - count * every_us
    make_leaves(connection, first_us, until_us)
    for at in range(0, count, FILL_ROWS):
        named = {
            "symbols": symbols,
            "first": from_us(first_us),
            "every_us": every_us,
            "from": at,
            "to": min(at + FILL_ROWS, count),
        }
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute(_STORED, named)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) raw_ticks")
        cursor.execute("CHECKPOINT")
    connection.autocommit = False


def _ratios(found: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """Above 1: dearer than the base."""
    return {"cost_ratio": round(found["cpu_us_per_trade"]["total"] / base["cpu_us_per_trade"]["total"], 3)}


def _memory_ratios(found: dict[str, Any], base: dict[str, Any]) -> dict[str, float]:
    """Redis holds the backlog itself; the others' should be near 1."""
    return {name: round(mb / base["peak_mb"][name], 2) for name, mb in found["peak_mb"].items()}


@click.command()
@click.option("--trades", default=300_000, show_default=True, help="Size of the backlog that is drained each time.")
@click.option("--per-s", default=20_000, show_default=True, help="Trades a second of event time, all symbols together.")
@click.option("--stored", default=5_000_000, show_default=True, help="Ticks that are there already.")
@click.option("--symbols", default=1_000, show_default=True, help="Symbols, beside ten.")
@click.option("--backlog", default=2_000_000, show_default=True, help="Size of the long backlog.")
@click.option("--runs", default=2, show_default=True, help="Medians of so many; the long backlog is drained once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(trades: int, per_s: int, stored: int, symbols: int, backlog: int, runs: int, as_json: bool) -> None:
    """Measure growth on private servers."""
    show("Growth: what a trade costs", measure(trades, per_s, stored, symbols, backlog, runs), as_json)


if __name__ == "__main__":
    main()
