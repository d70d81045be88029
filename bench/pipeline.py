"""`python -m bench.pipeline`: how fast messages become committed ticks, bars, pair rows and checkpoints.

Private servers with fsync on, everything on this machine. The clock runs from the first message parsed to the last tick, bar and
checkpoint committed; the processes are up before. Beside it, in the same run: a bare COPY of the same rows into the same table
and indexes by one connection. With `--begin stream` the rows wait in the stream already, and nothing is parsed.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import click
from psycopg2.extensions import connection as Connection

from bench.backlog import a_house, drain, fill, leave_a_checkpoint, make_leaves
from bench.cpu import CpuMeter
from bench.feed import made_rows
from bench.report import several, show
from common.codec import parse_iso_us
from ops.embedded import PrivateServers
from ops.house import ROOT
from tests.pipeline import Pipeline

COPY_ROWS = 20_000
_PAIR_ROWS = "SELECT count(*) FROM spread_analytics"
Begin = Literal["messages", "stream"]


def measure(
    trades: int, symbols: int, per_s: int, writers: int, producers: int, begin: Begin = "messages"
) -> dict[str, Any]:
    """Run once; answers the figures."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            rows = made_rows(trades, symbols, per_s)
            copied = _bare_copy(servers, folder, rows)
            found = {**copied, **_pipeline(servers, folder, rows, symbols, per_s, writers, producers, begin)}
            return {**found, "ratio_to_copy": round(found["trades_per_s"] / found["copy_rows_per_s"], 3)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bare_copy(servers: PrivateServers, folder: Path, rows: list[str]) -> dict[str, Any]:
    connection = a_house(servers, "gems_copy", folder, 1).database
    _make_leaves(connection, rows)
    meter, began_s = CpuMeter({"postgres": servers.processes["postgres"].pid}), time.monotonic()
    for at in range(0, len(rows), COPY_ROWS):
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY raw_ticks FROM STDIN (FORMAT csv)", io.StringIO("".join(rows[at : at + COPY_ROWS])))
    took_s = time.monotonic() - began_s
    cpu_us = meter.used_s()["postgres"] / len(rows) * 1e6  # before the session ends: a process that is ending counts nothing
    connection.close()
    return {"copy_rows_per_s": round(len(rows) / took_s), "copy_cpu_us_per_row": round(cpu_us, 2)}


def _pipeline(
    servers: PrivateServers, folder: Path, rows: list[str], symbols: int, per_s: int, writers: int, producers: int, begin: Begin
) -> dict[str, Any]:
    house = a_house(servers, "gems_bench", folder, symbols)
    _make_leaves(house.database, rows)
    try:
        leave_a_checkpoint(house)
        if begin == "stream":
            fill(house.client, [rows], house.settings.batch_rows)
            found = drain(house, servers, len(rows), writers)
        else:
            with _producing(house, len(rows), per_s, min(producers, symbols)) as processes:
                found = drain(house, servers, len(rows), writers, processes)
        house.settle()
        found["pair_rows"], found["wrong_bars"] = house.scalar(_PAIR_ROWS), len(house.differences())
        return found
    finally:
        house.stop()
        house.database.close()


@contextmanager
def _producing(house: Pipeline, trades: int, per_s: int, producers: int) -> "Iterator[list[subprocess.Popen[str]]]":
    """Producers that have made their messages, and wait; each has its share of the symbols."""
    command = [sys.executable, "-m", "bench.producing", str(trades), str(per_s)]
    with ExitStack() as stack:
        processes = []
        for share in range(producers):
            process = subprocess.Popen(
                [*command, str(share), str(producers)], cwd=ROOT, env={**os.environ, **house.settings.to_env()},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n"
        yield processes


def _make_leaves(connection: Connection, rows: list[str]) -> None:
    first, last = (parse_iso_us(row.split(",")[2]) for row in (rows[0], rows[-1]))
    make_leaves(connection, first, last)


@click.command()
@click.option("--trades", default=2_000_000, show_default=True, help="How many.")
@click.option("--symbols", default=10, show_default=True)
@click.option("--per-s", default=5_000, show_default=True, help="Trades a second of event time: fewer make more bars.")
@click.option("--producers", default=2, show_default=True, help="Processes that parse messages, each of its own symbols.")
@click.option("--writers", default=2, show_default=True)
@click.option("--begin", type=click.Choice(["messages", "stream"]), default="messages", show_default=True, help="What waits.")
@click.option("--runs", default=3, show_default=True, help="The figures are medians of these.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(
    trades: int, symbols: int, per_s: int, producers: int, writers: int, begin: Begin, runs: int, as_json: bool
) -> None:
    """Measure the pipeline on private servers."""
    found = several(lambda: measure(trades, symbols, per_s, writers, producers, begin), runs)
    show(f"Pipeline: {trades:,} trades from {begin} to committed bars", found, as_json)


if __name__ == "__main__":
    main()
