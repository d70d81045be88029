"""`python -m bench.web`: what a GET of bars costs while hundreds of browsers listen to the live stream.

Private servers with fsync on; writers, an aggregator and the web as processes of their own; trades in real time. The same
GETs, at the same pace, without listeners, with all of them, and without again, so that a machine that gets busier or idler counts
for neither; each listener gets every event there is. Listeners are a process of their own: what they cost is told beside the
web's share.
"""

import http.client
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from bench.backlog import a_house, leave_a_checkpoint, make_leaves
from bench.cpu import CpuMeter
from bench.feed import SRC
from bench.listeners import listen
from bench.memory import MemoryMeter, tree_mb
from bench.report import show, spread
from common.codec import encode_rows
from common.settings import Settings
from common.streams import append, connect_redis
from common.trades import Trade
from ops.embedded import PrivateServers
from tests.pipeline import Pipeline
from tests.web.streams import running_web

SYMBOLS = 3
EVERY_S = 0.02
#: Seconds that trades flow before anything is measured, and that listeners listen before they are counted.
WARM_S = 5.0
GETS_PER_S = 20
_SPAWN = multiprocessing.get_context("spawn")


def measure(clients: int, seconds: int, per_s: int, query: str) -> dict[str, Any]:
    """Run once; answers the figures."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            pipeline = a_house(servers, "gems_web", folder, SYMBOLS, sse_clients=clients)
            now_us = time.time_ns() // 1000
            make_leaves(pipeline.database, now_us, now_us + 3_600_000_000)
            leave_a_checkpoint(pipeline)
            pipeline.start("writer_0", "writer_1", "aggregator_0")
            try:
                with running_web(pipeline.settings) as (port, web), _feeding(pipeline.settings, per_s) as feeder:
                    pids = _pids(pipeline, servers, web=web.pid, feeder=feeder)
                    return _both(pipeline, port, pids, clients, seconds, query)
            finally:
                pipeline.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _both(pipeline: Pipeline, port: int, pids: dict[str, int], clients: int, seconds: int, query: str) -> dict[str, Any]:
    _get_bars(port, pipeline.settings.symbols[0], WARM_S)
    before = _phase(port, pipeline.settings.symbols[0], pids, seconds / 2)
    before_mb = tree_mb(pids["web"])
    with _listening(port, clients, query) as (orders, listeners):
        _get_bars(port, pipeline.settings.symbols[0], WARM_S)
        joined_mb = tree_mb(pids["web"])
        orders.send("count")
        beside = _phase(port, pipeline.settings.symbols[0], {**pids, "listeners": listeners}, seconds)
        orders.send("tell")
        told = orders.recv()
        after_mb = tree_mb(pids["web"])
    _get_bars(port, pipeline.settings.symbols[0], WARM_S)
    without, with_ms = (
        spread(before["took_ms"] + _get_bars(port, pipeline.settings.symbols[0], seconds / 2)),
        spread(beside["took_ms"]),
    )
    events = sorted(told["events"])
    return {
        "listeners": clients,
        "trades_per_s": round(
            pipeline.scalar("SELECT count(*) / extract(epoch FROM max(timestamp) - min(timestamp)) FROM raw_ticks")
        ),
        "gets_ms_without": without,
        "gets_ms_with": with_ms,
        "p50_ratio": round(with_ms["p50"] / without["p50"], 2),
        "p99_ratio": round(with_ms["p99"] / without["p99"], 2),
        "cores_without": before["cores"],
        "cores_with": beside["cores"],
        "web_mb": {"before": before_mb, "joined": joined_mb, "after": after_mb, "peak": beside["web_peak_mb"]},
        "events_each": {"min": events[0], "median": events[len(events) // 2], "max": events[-1]},
        "event_lag_ms": spread(told["lags_ms"]),
        "mb_per_s": round(told["received"] / 1e6 / seconds, 1),
        "ended": told["ended"],
    }


def _phase(port: int, symbol: str, pids: dict[str, int], seconds: float) -> dict[str, Any]:
    """GETs for some seconds; how long they took, and how much of a core each process used meanwhile."""
    cpu = CpuMeter(pids)
    began_s = time.monotonic()
    with MemoryMeter({"web": pids["web"]}, 2.0) as memory:
        took_ms = _get_bars(port, symbol, seconds)
        took_s = time.monotonic() - began_s
        cores = {name: round(used_s / took_s, 3) for name, used_s in cpu.used_s().items()}
        return {"took_ms": took_ms, "cores": cores, "web_peak_mb": memory.peak_mb()["web"]}


def _get_bars(port: int, symbol: str, seconds: float) -> list[float]:
    """Milliseconds of each GET, at a steady pace over one kept-alive connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took_ms, began_s = [], time.monotonic()
    while (asked_s := time.monotonic()) < began_s + seconds:
        connection.request("GET", f"/api/ingestion/bars/?symbol={symbol}&timeframe=1s&limit=200")
        answer = connection.getresponse()
        body = answer.read()
        took_ms.append((time.monotonic() - asked_s) * 1000)
        if answer.status != 200:
            raise AssertionError(f"bars: {answer.status} {body[:200]!r}")
        time.sleep(max(0.0, asked_s + 1 / GETS_PER_S - time.monotonic()))
    connection.close()
    return took_ms


@contextmanager
def _feeding(settings: Settings, per_s: int) -> Iterator[int]:
    """A process that appends trades in real time; yields its id."""
    process = _SPAWN.Process(target=feed, args=(settings, per_s), daemon=True)
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.terminate()
        process.join(10)


def feed(settings: Settings, per_s: int) -> None:
    """Trades of all symbols in turn, an entry every 20 ms, stamped with their own moment."""
    client, names = connect_redis(settings), settings.symbols
    began_s, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began_s) * per_s) - sent
        now_us = time.time_ns() // 1000
        rows = [_trade(names, sent + each, now_us) for each in range(due)]
        for at in range(0, due, settings.batch_rows):
            part = rows[at : at + settings.batch_rows]
            append(client, "trades", SRC, encode_rows(part), len(part))
        sent += due
        time.sleep(EVERY_S)


def _trade(names: tuple[str, ...], number: int, now_us: int) -> Trade:
    price = f"{40_000 + number * 7919 % 1_000 / 100:.2f}"
    return Trade(names[number % len(names)], 3_000_000_000 + number // len(names), now_us, price, "0.5", "bs"[number % 2])


@contextmanager
def _listening(port: int, clients: int, query: str) -> Iterator[tuple[Connection, int]]:
    """The process of all listeners, once each of them listens; yields the pipe of its orders, and its id."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=listen, args=(port, clients, query, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(120) or ours.recv() != "ready":
            raise TimeoutError("the listeners do not all listen after two minutes")
        yield ours, process.pid or 0
        ours.send("end")
        process.join(10)
    finally:
        process.kill()


def _pids(pipeline: Pipeline, servers: PrivateServers, **more: int) -> dict[str, int]:
    own = {name: process.pid for name, process in [*pipeline.processes.items(), *servers.processes.items()]}
    return {**own, **more}


@click.command()
@click.option("--clients", default=500, show_default=True, help="Listeners of the live stream, all at once.")
@click.option("--seconds", default=60, show_default=True, help="Seconds of GETs without listeners, and again with them.")
@click.option("--per-s", default=2_000, show_default=True, help="Trades a second.")
@click.option("--query", default="", help="What listeners ask for, such as ?topics=bars; default: every event.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(clients: int, seconds: int, per_s: int, query: str, as_json: bool) -> None:
    """Measure the web with and without listeners."""
    show("Web: GETs of bars beside live streams", measure(clients, seconds, per_s, query), as_json)


if __name__ == "__main__":
    main()
