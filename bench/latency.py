"""`python -m bench.latency`: from the exchange's stamp to the committed tick, the bar on the screen, and the alert.

The whole house on private servers with fsync on: the simulated exchange in a process of its own, a real WebSocket, producer,
writers, aggregator and web. Nothing is asked while it runs: PostgreSQL notes when each transaction committed
(`track_commit_timestamp`), and its stamps, the stream's ids and what a listener of SSE got are put together afterwards.
Beside it, in the same run: one entry appended to Redis and one row committed by COPY, each alone and with its fsync.
"""

import io
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import click
import orjson
import websocket
from psycopg2.extras import Json

from bench.backlog import a_house, leave_a_checkpoint, names_of
from bench.cpu import CpuMeter
from bench.delays import Alerted, Tick, Update, closing_us, shown_us
from bench.feed import made_rows
from bench.memory import MemoryMeter
from bench.report import several, show, spread
from common.codec import parse_iso_us
from common.database import transaction
from common.streams import append
from ops.embedded import PrivateServers
from tests.exchange.running import RunningExchange
from tests.pipeline import Pipeline
from tests.processes.feeding import producing
from tests.web.streams import Reader, running_web

POSTGRES_ARGS = ("-c", "track_commit_timestamp=on", "-c", "track_wal_io_timing=on")
#: Trade id -> when the exchange sent it, and when a bare client had it.
_Sent = dict[int, tuple[int, int]]
WARM_S = 3.0
FLOOR_TIMES = 200
#: So far must a 1s bar move (percent) for each alert of a symbol: about half of them do.
MOVES_PCT = (0.004, 0.006, 0.009, 0.03, 0.05)
_TICKS = """
SELECT symbol, trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint,
    (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint,
    row_number() OVER (PARTITION BY symbol, date_trunc('second', timestamp) ORDER BY timestamp, trade_id)
FROM raw_ticks WHERE symbol = ANY(%s)
    AND timestamp >= date_trunc('second', to_timestamp(%s / 1e6)) AND timestamp < to_timestamp(%s / 1e6)
"""
_ALERTED = """
SELECT symbol_pair, (extract(epoch FROM bar_timestamp) * 1000000)::bigint,
    (extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) * 1000000)::bigint
FROM alert_events e JOIN alerts a ON a.id = alert_id WHERE transition IN ('triggered', 'cleared')
"""
_FSYNCS = "SELECT coalesce(sum(fsyncs), 0), coalesce(sum(fsync_time), 0) FROM pg_stat_io WHERE object = 'wal'"


def measure(seconds: float, per_s: int, symbols: int) -> dict[str, Any]:
    """Run once; answers the figures, in milliseconds."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder, POSTGRES_ARGS) as servers:
            pipeline = a_house(servers, "gems_latency", folder, symbols, history="0", sim_rate=per_s, sse_clients=4)
            floor_ms = _floor_ms(pipeline)
            _add_alerts(pipeline)
            return {"per_s": per_s, "symbols": symbols, "floor_ms": floor_ms, **_run(pipeline, servers, folder, seconds)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _floor_ms(pipeline: Pipeline) -> dict[str, float]:
    """The least that a trade must wait for: its entry on Redis' disk, then its row on PostgreSQL's."""
    rows = made_rows(FLOOR_TIMES, 1, 1000)
    with transaction(pipeline.database), pipeline.database.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_floor (LIKE raw_ticks); CREATE UNIQUE INDEX ON bench_floor (symbol, trade_id)")
    appending = _median_ms(lambda row: append(pipeline.client, "bench:floor", "bench.trade", row, 1), rows)
    committing = _median_ms(lambda row: _commit(pipeline, row), rows)
    pipeline.client.delete("bench:floor")
    return {"append": appending, "commit": committing, "both": round(appending + committing, 2)}


def _commit(pipeline: Pipeline, row: str) -> None:
    with transaction(pipeline.database), pipeline.database.cursor() as cursor:
        cursor.copy_expert("COPY bench_floor FROM STDIN (FORMAT csv)", io.StringIO(row))


def _median_ms(once: Callable[[str], Any], rows: list[str]) -> float:
    took_ms = []
    for row in rows:
        began_s = time.perf_counter()
        once(row)
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return spread(took_ms)["p50"]


def _add_alerts(pipeline: Pipeline) -> None:
    """On each symbol some that come and go with the bars."""
    with transaction(pipeline.database), pipeline.database.cursor() as cursor:
        for name, moves_pct in product(pipeline.settings.symbols, MOVES_PCT):
            rule = ("price_movement", name, Json({"threshold": moves_pct}))
            cursor.execute("INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES (%s, %s, %s, '1s')", rule)


def _run(pipeline: Pipeline, servers: PrivateServers, folder: Path, seconds: float) -> dict[str, Any]:
    (folder / "sim").mkdir()
    settings, names = pipeline.settings, ",".join(pipeline.settings.symbols)
    exchange = RunningExchange(folder / "sim", symbols=names, pairs=",".join(settings.pairs), sim_rate=settings.sim_rate)
    pipeline.settings = settings = settings.model_copy(update={"sim_port": exchange.port})
    leave_a_checkpoint(pipeline)
    exchange.start()
    assert exchange.process is not None
    try:
        pipeline.start("writer_0", "writer_1", "aggregator_0", "tasks")
        with running_web(settings) as (port, web), producing(settings) as producer, _Probe(exchange.port) as probe:
            assert producer.process is not None
            with _listening(port) as updates:
                pids = {"producer": producer.process.pid, "web": web.pid, "exchange": exchange.process.pid}
                pids |= {name: each.pid for name, each in (*pipeline.processes.items(), *servers.processes.items())}
                window = _watch(pipeline, pids, seconds)
            producer.stop()
            pipeline.settle()
            return {**window.pop("cost"), **_figures(pipeline, window, updates, probe.sent)}
    finally:
        pipeline.stop()
        exchange.stop()
        pipeline.database.close()


def _watch(pipeline: Pipeline, pids: dict[str, int], seconds: float) -> dict[str, Any]:
    """Let it run; answers the window of stamps to look at, and what it cost."""
    stored = "SELECT coalesce(sum(stored), 0) FROM writer_positions"
    pipeline.wait(lambda: pipeline.scalar(stored) > 0, 60, "first tick")
    time.sleep(WARM_S)
    with MemoryMeter(pids) as memory:
        before, fsyncs = pipeline.scalar(stored), pipeline.rows(_FSYNCS)[0]
        meter, from_us = CpuMeter(pids), time.time_ns() // 1000
        time.sleep(seconds)
        until_us, trades, used_s = time.time_ns() // 1000, int(pipeline.scalar(stored) - before), meter.used_s()
        peak_mb = memory.peak_mb()
    synced = [float(now - then) for now, then in zip(pipeline.rows(_FSYNCS)[0], fsyncs, strict=True)]
    bars_end_us = until_us + pipeline.settings.lateness_ms * 1000 + 1_000_000
    pipeline.wait(lambda: time.time_ns() // 1000 > bars_end_us, 60, "bars of the last trades")
    cpu_us = {name: round(used / trades * 1e6, 2) for name, used in used_s.items()}
    total = sum(used for name, used in used_s.items() if name != "exchange") / trades * 1e6
    cost = {"trades": trades, "cpu_us_per_trade": {**cpu_us, "total": round(total, 2)}, "peak_mb": peak_mb}
    return {"cost": cost, "from_us": from_us, "until_us": until_us, "fsync_ms": round(synced[1] / max(1.0, synced[0]), 2)}


@contextmanager
def _listening(port: int) -> Iterator[list[Update]]:
    """A listener of 1s bars, and what it gets."""
    reader, updates = Reader(port, "?topics=bars&timeframe=1s"), list[Update]()

    def listen() -> None:
        try:
            for event in reader.events():
                received_us, body = time.time_ns() // 1000, orjson.loads(event.text or "{}")
                if event.name.startswith("bar"):
                    start_us = parse_iso_us(body["timestamp"])
                    updates.append(Update(body["symbol"], start_us, body["tick_count"], received_us))
        except (OSError, ValueError, AttributeError):
            return  # the stream was closed under it

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield updates
    finally:
        reader.close()
        thread.join(5)


class _Probe:
    """A bare client of one symbol on the same exchange: when each of its trades was sent, and came."""

    def __init__(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/stream?streams={names_of(1)[0].lower()}@trade&timeUnit=MICROSECOND"
        self._client = websocket.create_connection(url, skip_utf8_validation=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.sent: _Sent = {}

    def __enter__(self) -> "_Probe":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.shutdown()  # type: ignore[no-untyped-call]
        self._thread.join(5)

    def _read(self) -> None:
        while self._client.connected:
            try:
                told = orjson.loads(self._client.recv())["data"]
            except (websocket.WebSocketException, OSError, ValueError, KeyError, AttributeError):
                return
            self.sent[told["t"]] = (told["E"], time.time_ns() // 1000)


def _figures(pipeline: Pipeline, window: dict[str, Any], updates: list[Update], sent: _Sent) -> dict[str, Any]:
    from_us, until_us, fsync_us = window["from_us"], window["until_us"], window["fsync_ms"] * 1000
    names = list(pipeline.settings.symbols)
    ticks = [Tick(*row) for row in pipeline.rows(_TICKS, names, from_us, until_us)]
    appended, per_entry = _appended(pipeline)
    closed = closing_us(ticks, appended, pipeline.settings.lateness_ms * 1000)
    shown, measured = shown_us(ticks, updates), [tick for tick in ticks if tick.stamped_us >= from_us]
    alerted = [Alerted(*row) for row in pipeline.rows(_ALERTED)]
    found = {
        "to_committed_ms": spread((tick.committed_us + fsync_us - tick.stamped_us) / 1000 for tick in measured),
        "to_sse_ms": spread((shown[tick[:2]] - tick.stamped_us) / 1000 for tick in measured if tick[:2] in shown),
        "close_to_alert_ms": spread(
            (each.committed_us + fsync_us - closed[each[:2]]) / 1000 for each in alerted if each[:2] in closed
        ),
        "never_shown": sum(tick[:2] not in shown for tick in measured),
        "alerts": sum(each[:2] in closed for each in alerted),
    }
    return {**found, "parts_ms": _parts_ms(measured, appended, sent, window["fsync_ms"]), "rows_per_entry": per_entry}


def _appended(pipeline: Pipeline) -> tuple[dict[tuple[str, int], int], float]:
    """When each trade that the stream still holds was appended (to the millisecond); and the rows of an entry."""
    entries: Any = pipeline.client.xrange("trades")
    found, rows = {}, 0
    for raw_id, fields in entries:
        at_us = int(raw_id.partition(b"-")[0]) * 1000
        for row in fields[b"rows"].decode().splitlines():
            symbol, trade_id, _ = row.split(",", 2)
            found[symbol, int(trade_id)] = at_us
            rows += 1
    return found, round(rows / max(1, len(entries)), 1)


def _parts_ms(ticks: list[Tick], appended: dict[tuple[str, int], int], sent: _Sent, fsync_ms: float) -> dict[str, Any]:
    """Where the time of the probed symbol's trades goes, one part after the other."""
    mine = [tick for tick in ticks if tick.symbol == names_of(1)[0] and tick.trade_id in sent and tick[:2] in appended]
    parts = {
        "exchange holds it": [sent[tick.trade_id][0] - tick.stamped_us for tick in mine],
        "socket, parse, batch, XADD": [appended[tick[:2]] - sent[tick.trade_id][0] for tick in mine],
        "stream, writer's turn, COPY": [tick.committed_us - appended[tick[:2]] for tick in mine],
    }
    told = {name: {"mean": round(mean(each) / 1000, 2), **spread(us / 1000 for us in each)} for name, each in parts.items()}
    return {**told, "WAL fsync": {"mean": fsync_ms}}


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="How long it is looked at.")
@click.option("--per-s", default=5_000, show_default=True, help="Trades a second, all symbols together.")
@click.option("--symbols", default=10, show_default=True)
@click.option("--runs", default=3, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(seconds: float, per_s: int, symbols: int, runs: int, as_json: bool) -> None:
    """Measure latency on private servers."""
    found = several(lambda: measure(seconds, per_s, symbols), runs)
    found["ratio_to_floor"] = round(found["to_committed_ms"]["p50"] / found["floor_ms"]["both"], 2)
    show(f"Latency at {per_s:,} trades/s, from the exchange's stamp", found, as_json)


if __name__ == "__main__":
    main()
