"""`python -m bench.peers`: what the same trades cost in other people's pipelines, beside ours, on the same servers.

cryptofeed's backends for Redis streams and PostgreSQL, each from the message's text to the stored trade; Celery tasks with
Django's `bulk_create`, without and with bars; and ours, from the text to the stream, and from there to ticks, bars and pair rows.
All on private servers with fsync on, one after the other. The others' libraries are in a venv of their own.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import orjson
import psycopg2

from bench.backlog import a_house, drain, fill, leave_a_checkpoint, make_leaves
from bench.cpu import CpuMeter
from bench.feed import SRC, made_chunks, made_rows
from bench.report import several, show
from bench.venv import NoPeer, a_peer, ensure_peers
from common.codec import decode_row, encode_row
from common.judge import Limits, judge
from common.settings import Settings
from common.streams import append, connect_redis
from common.trades import Trade
from ops.embedded import PrivateServers
from producer.batcher import Batcher
from producer.venues.binance import parse_message

SYMBOLS = 10
PER_S = 5_000


def measure(trades: int, peer_trades: int) -> dict[str, Any]:
    """Run once; answers the figures, microseconds of CPU a trade: of the program, of the servers, and of all together."""
    missing = ensure_peers()
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder, redis_args=("--unrestricted",)) as servers:
            rows = made_rows(peer_trades, SYMBOLS, PER_S)
            _write(folder / "messages.ndjson", rows, message_of)
            _write(folder / "ticks.ndjson", rows, tick_of)
            ours = _ours(servers, folder, trades)
            theirs = _theirs(servers, folder, missing)
            beside = {name: _ratio(found, ours) for name, found in theirs.items()}
            return {"trades": trades, "peer_trades": peer_trades, "ours": ours, **beside}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, rows: list[str], form: Callable[[Trade], dict[str, Any]]) -> None:
    path.write_bytes(b"\n".join(orjson.dumps(form(decode_row(row.rstrip("\n")))) for row in rows))


def message_of(trade: Trade) -> dict[str, Any]:
    """As Binance's combined stream sends an aggregate."""
    told = {
        "e": "aggTrade", "E": trade.event_us // 1000, "s": trade.symbol, "a": trade.trade_id, "p": trade.price, "q": trade.size,
        "f": trade.trade_id, "l": trade.trade_id, "T": trade.event_us // 1000, "m": trade.side == "s", "M": True,
    }  # fmt: skip
    return {"stream": f"{trade.symbol.lower()}@aggTrade", "data": told}


def tick_of(trade: Trade) -> dict[str, str]:
    """As a client of `ingest/` posts it."""
    fields = encode_row(trade).split(",")
    return {"symbol": trade.symbol, "ts": fields[2], "price": trade.price, "size": trade.size}


def _ours(servers: PrivateServers, folder: Path, trades: int) -> dict[str, Any]:
    pipeline = a_house(servers, "gems_ours", folder, SYMBOLS)
    try:
        until_us = time.time_ns() // 1000
        make_leaves(pipeline.database, until_us - trades * 1_000_000 // PER_S, until_us)
        texts = (folder / "messages.ndjson").read_bytes().splitlines()
        appending = _appended(pipeline.settings, servers, texts)
        leave_a_checkpoint(pipeline)
        fill(pipeline.client, made_chunks(trades, SYMBOLS, PER_S, until_us), pipeline.settings.batch_rows)
        drained = drain(pipeline, servers, trades)
        pipeline.stop()
    finally:
        pipeline.database.close()
    total_us = round(appending["total_us"] + drained["cpu_us_per_trade"]["total"], 2)
    stored = {"per_s": drained["trades_per_s"], "total_us": drained["cpu_us_per_trade"]["total"]}
    return {"text_to_stream": appending, "stream_to_bars": stored, "total_us": total_us}


def _appended(settings: Settings, servers: PrivateServers, texts: list[bytes]) -> dict[str, Any]:
    """From the text to the stream's entry, as the feed does it, in this process."""
    limits, batcher = Limits.of(settings), Batcher(settings.batch_rows, 1.0)
    entry_ms = time.time_ns() // 1_000_000
    with connect_redis(settings) as client:
        meter, began_s, cpu_s = CpuMeter({"redis": servers.processes["redis"].pid}), time.monotonic(), time.process_time()
        for text in texts:
            trade = parse_message(text, "aggTrade")
            assert type(trade) is Trade, f"a message was read as {trade}"
            if full := batcher.add("bench:ours", SRC, encode_row(judge(trade, limits, entry_ms)), 0.0):
                append(client, full.stream, full.src, full.rows, full.n)
        for batch in batcher.drain():
            append(client, batch.stream, batch.src, batch.rows, batch.n)
        client_s, took_s = time.process_time() - cpu_s, time.monotonic() - began_s
        used = {"client_us": client_s, "servers_us": meter.used_s()["redis"], "total_us": client_s + meter.used_s()["redis"]}
        client.delete("bench:ours")
    per_trade = {name: round(seconds / len(texts) * 1e6, 2) for name, seconds in used.items()}
    return {"per_s": round(len(texts) / took_s), **per_trade}


def _theirs(servers: PrivateServers, folder: Path, missing: dict[str, str]) -> dict[str, Any]:
    """Name -> what was found, or why it could not be."""
    messages, ticks, found = str(folder / "messages.ndjson"), str(folder / "ticks.ndjson"), {}
    for name, which in {"cryptofeed, Redis stream": "redis", "cryptofeed, PostgreSQL": "postgres"}.items():
        database = _database(servers, f"peer_{which}")
        arguments = (which, servers.redis_url(), orjson.dumps(database).decode(), messages)
        found[name] = _measured(missing.get("cryptofeed"), servers, "cryptofeed_sinks", arguments, {})
    for name, bars in {"Celery and Django, ticks": "0", "Celery and Django, ticks and bars": "1"}.items():
        database = _database(servers, f"peer_django_{bars}")
        environ = {"PEER_REDIS_URL": servers.redis_url(), "PEER_POSTGRES": orjson.dumps(database).decode()}
        found[name] = _measured(missing.get("celery"), servers, "celery_django", (ticks, bars), environ)
    return found


def _measured(
    missing: str | None, servers: PrivateServers, program: str, arguments: tuple[str, ...], environ: dict[str, str]
) -> dict[str, Any]:
    if missing:
        return {"not installed": missing}
    try:
        with a_peer(program, *arguments, environ=environ) as peer:
            meter = CpuMeter({name: process.pid for name, process in servers.processes.items()})
            found = peer.go()
            used_s = sum(meter.used_s().values())
    except NoPeer as exc:
        return {"failed": str(exc)}
    servers_us = round(used_s / found.pop("trades") * 1e6, 2)
    return {**found, "servers_us": servers_us, "total_us": round(found["client_us"] + servers_us, 2)}


def _database(servers: PrivateServers, name: str) -> dict[str, Any]:
    """A fresh database, as other people's drivers want to be told of it."""
    with closing(psycopg2.connect(servers.postgres_url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    url = urlsplit(servers.postgres_url(name))
    return {
        "host": url.hostname,
        "port": url.port,
        "database": name,
        "user": url.username,
        "password": unquote(url.password or ""),
    }


def _ratio(found: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """How many times what ours costs, over the whole way."""
    return {**found, "times_ours": round(found["total_us"] / ours["total_us"], 1)} if "total_us" in found else found


@click.command()
@click.option("--trades", default=300_000, show_default=True, help="Trades of our own pipeline.")
@click.option("--peer-trades", default=20_000, show_default=True, help="Trades of each of the others.")
@click.option("--runs", default=1, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(trades: int, peer_trades: int, runs: int, as_json: bool) -> None:
    """Measure other people's pipelines on private servers."""
    show("Peers: us of CPU a trade, their program and the servers", several(lambda: measure(trades, peer_trades), runs), as_json)


if __name__ == "__main__":
    main()
