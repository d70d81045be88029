"""A backlog in the stream and the core of the house that drains it, on private servers: what several benches measure."""

import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from bench.cpu import CpuMeter
from bench.feed import SRC, entries_of
from bench.memory import MemoryMeter
from common.database import connect_database
from common.partitions import ensure_month_leaves, ensure_tick_leaves
from common.settings import Settings
from common.streams import GROUP, append, connect_redis
from common.trades import US_PER_DAY
from ops.embedded import PrivateServers
from ops.migrate import migrate
from tests.pipeline import Pipeline

DEADLINE_S = 1_800.0
_HELD = "bench:held"
_STORED = "SELECT coalesce(sum(stored), 0) FROM writer_positions"


def names_of(symbols: int) -> tuple[str, ...]:
    """The symbols of `bench.feed`; two at least, for a pair."""
    return tuple(f"SYM{each}USDT" for each in range(max(2, symbols)))


def a_house(servers: PrivateServers, database: str, folder: Path, symbols: int, **given: Any) -> Pipeline:
    """A fresh database and an emptied Redis, with one pair, and nothing running on them yet."""
    migrate(servers.postgres_url(database))
    names = names_of(symbols)
    urls = {"database_url": servers.postgres_url(database), "redis_url": servers.redis_url()}
    settings = Settings.from_env({}, data_dir=folder, symbols=names, pairs=("_".join(names[:2]),), **urls, **given)
    client = connect_redis(settings)
    client.flushdb()
    return Pipeline(settings, client, connect_database(settings))


def make_leaves(connection: Connection, first_us: int, last_us: int) -> None:
    """Of every table, for these stamps."""
    days = [date(1970, 1, 1) + timedelta(days=day) for day in range(first_us // US_PER_DAY, last_us // US_PER_DAY + 1)]
    ensure_tick_leaves(connection, days)
    ensure_month_leaves(connection, days)


def leave_a_checkpoint(pipeline: Pipeline) -> None:
    """So that the aggregator starts as it would on any day but its first; it has ended at the return."""
    checkpointed = "SELECT length(state) > 0 FROM checkpoints"
    if pipeline.scalar(checkpointed):
        return
    pipeline.start("aggregator_0")
    pipeline.wait(lambda: pipeline.scalar(checkpointed), 120, "first checkpoint")
    pipeline.stop()
    pipeline.processes.clear()


def fill(client: redis.Redis, chunks: Iterable[list[str]], batch_rows: int) -> None:
    """Append rows in entries of `batch_rows` to a stream that nobody reads yet."""
    client.xgroup_create(_HELD, GROUP, id="0", mkstream=True)
    for rows in chunks:
        entries = entries_of(rows, batch_rows)
        for at in range(0, len(entries), 100):
            pipe = client.pipeline(transaction=False)
            for count, text in entries[at : at + 100]:
                append(pipe, _HELD, SRC, text, count)
            pipe.execute()


def drain(
    pipeline: Pipeline, servers: PrivateServers, trades: int, writers: int = 2,
    producers: "Sequence[subprocess.Popen[str]]" = (),
) -> dict[str, Any]:  # fmt: skip
    """Give the filled stream to the core once it is up (or let `bench.producing` that waits begin), and wait until all is
    committed.

    Clock and meters run from there on: the imports of a start would count as much as a hundred thousand trades.
    """
    names = [*(f"writer_{number}" for number in range(writers)), "aggregator_0", "tasks"]
    pipeline.start(*names)
    pipeline.wait(lambda: pipeline.client.exists(*(f"health:{name}" for name in names)) == len(names), 120, "start")
    bars = _bars(pipeline)
    pids = {name: process.pid for name, process in (*pipeline.processes.items(), *servers.processes.items())}
    with MemoryMeter(pids) as memory:
        meter, began_s = CpuMeter(pids), time.monotonic()
        _begin(pipeline, producers)
        pipeline.wait(lambda: pipeline.scalar(_STORED) == trades, DEADLINE_S, "stored ticks")
        pipeline.wait(pipeline.is_at_rest, DEADLINE_S, "committed bars")
        took_s, used_s = time.monotonic() - began_s, meter.used_s()
        peak_mb = memory.peak_mb()
    for number, producer in enumerate(producers):
        told = json.loads(producer.stdout.readline())  # type: ignore[union-attr]
        used_s[f"producer_{number}"], peak_mb[f"producer_{number}"] = told["cpu_s"], round(told["peak_mb"], 1)
    cpu_us = {name: round(used / trades * 1e6, 2) for name, used in used_s.items()}
    return {
        "trades": trades,
        "trades_per_s": round(trades / took_s),
        "cpu_us_per_trade": {**cpu_us, "total": round(sum(used_s.values()) / trades * 1e6, 2)},
        "bars": _bars(pipeline) - bars,
        "peak_mb": peak_mb,
    }


def _begin(pipeline: Pipeline, producers: "Sequence[subprocess.Popen[str]]") -> None:
    for producer in producers:
        assert producer.stdin
        producer.stdin.write("go\n")
        producer.stdin.flush()
    if not producers:
        pipeline.client.rename(_HELD, "trades")


def _bars(pipeline: Pipeline) -> int:
    return int(pipeline.scalar("SELECT coalesce(sum(bars), 0) FROM checkpoints"))
