"""`python -m bench.pipeline`: how fast a backlog becomes committed ticks, bars, pair rows and checkpoints.

Private servers with fsync on, everything on this machine. The clock runs from the first entry read to the last tick, bar and
checkpoint committed. Beside it, in the same run: a bare COPY of the same rows into the same table and indexes by one connection.
"""

import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import psycopg2
import redis
from rich.console import Console
from rich.table import Table

from bench.cpu import CpuMeter
from bench.feed import SRC, entries_of, made_rows
from common.database import connect_database
from common.partitions import ensure_month_leaves, ensure_tick_leaves
from common.settings import Settings
from common.streams import append, connect_redis
from common.trades import from_us
from ops.embedded import PrivateServers
from ops.migrate import migrate
from tests.pipeline import Pipeline

COPY_ROWS = 20_000
DEADLINE_S = 300.0


def measure(trades: int, symbols: int, per_s: int, writers: int) -> dict[str, Any]:
    """Run once; answers the figures."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            rows = made_rows(trades, symbols, per_s)
            copied = _bare_copy(servers, rows)
            return {**copied, **_pipeline(servers, folder, rows, symbols, writers)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bare_copy(servers: PrivateServers, rows: list[str]) -> dict[str, Any]:
    settings = _settings(servers, "gems_copy", Path("."), 1)
    connection = connect_database(settings)
    _make_leaves(connection, rows)
    meter = CpuMeter({"postgres": servers.processes["postgres"].pid})
    began_s = time.monotonic()
    for at in range(0, len(rows), COPY_ROWS):
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY raw_ticks FROM STDIN (FORMAT csv)", io.StringIO("".join(rows[at : at + COPY_ROWS])))
    took_s = time.monotonic() - began_s
    cpu_us = meter.used_s()["postgres"] / len(rows) * 1e6  # before the session ends: a process that is ending counts nothing
    connection.close()
    return {"copy_rows_per_s": round(len(rows) / took_s), "copy_cpu_us_per_row": round(cpu_us, 2)}


def _pipeline(servers: PrivateServers, folder: Path, rows: list[str], symbols: int, writers: int) -> dict[str, Any]:
    settings = _settings(servers, "gems_bench", folder, symbols)
    client, database = connect_redis(settings), connect_database(settings)
    _make_leaves(database, rows)
    pipeline = Pipeline(settings, client, database)
    try:
        _leave_a_checkpoint(pipeline)
        _fill(client, entries_of(rows, settings.batch_rows))
        names = [*(f"writer_{number}" for number in range(writers)), "aggregator_0", "tasks"]
        pipeline.start(*names)
        return _watch(pipeline, servers, len(rows))
    finally:
        pipeline.stop()


def _watch(pipeline: Pipeline, servers: PrivateServers, trades: int) -> dict[str, Any]:
    pids = {name: process.pid for name, process in pipeline.processes.items()}
    pids |= {name: process.pid for name, process in servers.processes.items()}
    meter = CpuMeter(pids)
    pipeline.wait(lambda: pipeline.client.xinfo_groups("trades")[0]["last-delivered-id"] != b"0-0", 30, "first read")
    began_s = time.monotonic()
    pipeline.wait(lambda: pipeline.scalar("SELECT sum(stored) FROM writer_positions") == trades, DEADLINE_S, "stored ticks")
    stored_s = time.monotonic() - began_s
    pipeline.wait(pipeline.is_at_rest, DEADLINE_S, "committed bars")
    took_s = time.monotonic() - began_s
    cpu_us = {name: round(used / trades * 1e6, 2) for name, used in meter.used_s().items()}
    pipeline.settle()
    return {
        "trades": trades,
        "trades_per_s": round(trades / took_s),
        "ticks_per_s": round(trades / stored_s),
        "cpu_us_per_trade": {**cpu_us, "total": round(sum(cpu_us.values()), 2)},
        "bars": pipeline.scalar("SELECT count(*) FROM processed_bars"),
        "pair_rows": pipeline.scalar("SELECT count(*) FROM spread_analytics"),
        "wrong_bars": len(pipeline.differences()),
    }


def _settings(servers: PrivateServers, database: str, folder: Path, symbols: int) -> Settings:
    migrate(servers.postgres_url(database))
    names = tuple(f"SYM{each}USDT" for each in range(max(2, symbols)))
    return Settings.from_env(
        {}, database_url=servers.postgres_url(database), redis_url=servers.redis_url(), data_dir=folder,
        symbols=names, pairs=(f"{names[0]}_{names[1]}",),
    )  # fmt: skip


def _make_leaves(connection: psycopg2.extensions.connection, rows: list[str]) -> None:
    days = {row.split(",")[2][:10] for row in rows}
    stamps = [from_us(time.time_ns() // 1000).date().fromisoformat(day) for day in days]
    ensure_tick_leaves(connection, stamps)
    ensure_month_leaves(connection, stamps)


def _leave_a_checkpoint(pipeline: Pipeline) -> None:
    """So that the aggregator starts as it would on any day but its first."""
    pipeline.start("aggregator_0")
    pipeline.wait(lambda: pipeline.scalar("SELECT length(state) > 0 FROM checkpoints"), 30, "first checkpoint")
    pipeline.stop()
    pipeline.processes.clear()


def _fill(client: redis.Redis, entries: list[tuple[int, str]]) -> None:
    client.xgroup_create("trades", "writers", id="0", mkstream=True)
    for at in range(0, len(entries), 100):
        pipe = client.pipeline(transaction=False)
        for count, text in entries[at : at + 100]:
            append(pipe, "trades", SRC, text, count)
        pipe.execute()


@click.command()
@click.option("--trades", default=1_000_000, show_default=True, help="Size of the backlog.")
@click.option("--symbols", default=10, show_default=True)
@click.option("--per-s", default=5_000, show_default=True, help="Trades a second of event time: fewer make more bars.")
@click.option("--writers", default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(trades: int, symbols: int, per_s: int, writers: int, as_json: bool) -> None:
    """Measure the pipeline on private servers."""
    found = measure(trades, symbols, per_s, writers)
    found["ratio_to_copy"] = round(found["trades_per_s"] / found["copy_rows_per_s"], 3)
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table("", "", title=f"Pipeline: a backlog of {trades:,} trades", show_header=False)
    for name, value in found.items():
        table.add_row(name, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else f"{value:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
