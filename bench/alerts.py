"""`python -m bench.alerts`: from the close of a bar to the webhook received, through the real pipeline.

Private servers with fsync on; a writer, an aggregator and a notifier as processes of their own; trades of several symbols in
real time, whose prices cross an alert's threshold with every bar. The clock of a bar starts when the trade that closes it (the
first past its end and the allowed lateness) is appended to the stream, and stops when the receiver has read the webhook.
Some receivers beside it never answer, as on a bad day.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import redis
from psycopg2.extras import Json

from bench.report import several, show, spread
from common.codec import encode_rows, iso_us, parse_iso_us
from common.database import connect_database, transaction
from common.settings import Settings
from common.streams import append, connect_redis
from common.trades import Trade, to_us
from ops.embedded import PrivateServers
from ops.migrate import migrate
from tests.notifier.house import add_receiver
from tests.notifier.receiving import Reply, Server, a_server
from tests.pipeline import Pipeline

SRC = "bench.trade"
SECOND_US = 1_000_000
EVERY_S = 0.02
THRESHOLD = 100.0


class Sent(NamedTuple):
    """What was fed: for each (symbol, start of its bar, us) the wall clock at which its closing trade was appended, us."""

    closed_us: dict[tuple[str, int], int]


def measure(seconds: int, symbols: int, slow: int) -> dict[str, Any]:
    """Run once; answers the figures."""
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    names = tuple(f"SYM{each}USDT" for each in range(symbols))
    try:
        with PrivateServers(folder) as servers, a_server() as server:
            migrate(servers.postgres_url("gems_alerts"))
            settings = Settings.from_env(
                {}, database_url=servers.postgres_url("gems_alerts"), redis_url=servers.redis_url(), data_dir=folder,
                symbols=names, pairs=(), timeframes=("1s",), notify_private=True, notify_timeout_s=2.0,
            )  # fmt: skip
            return _run(settings, server, names, seconds, slow)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(settings: Settings, server: Server, names: tuple[str, ...], seconds: int, slow: int) -> dict[str, Any]:
    client, database = connect_redis(settings), connect_database(settings)
    server.reply = lambda call: Reply(wait_s=60) if call.path == "/slow" else Reply()
    with transaction(database), database.cursor() as cursor:
        for name in names:
            rule = ("price_above", name, Json({"threshold": THRESHOLD}))
            cursor.execute("INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES (%s, %s, %s, '1s')", rule)
    add_receiver(database, "measured", server.url("/measured"))
    for number in range(slow):
        add_receiver(database, f"slow {number}", server.url("/slow"))
    pipeline = Pipeline(settings, client, database)
    try:
        pipeline.start("writer_0", "aggregator_0", "notifier")
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM checkpoints"), 30, "first checkpoint")
        sent = _feed(client, settings, names, seconds)
        queued = "SELECT count(*) FROM alert_deliveries JOIN alert_receivers AS r ON r.id = receiver_id WHERE name = 'measured'"
        pipeline.wait(lambda: pipeline.scalar(f"{queued} AND state = 'waiting'") == 0, 30, "deliveries")
        return {"symbols": len(names), "slow_receivers": slow, **_figures(pipeline, server, sent)}
    finally:
        pipeline.stop()
        database.close()


def _feed(client: redis.Redis, settings: Settings, names: tuple[str, ...], seconds: int) -> Sent:
    """A trade of each symbol every 20 ms; the price is above the threshold in every other second."""
    sent = Sent({})
    late_us = settings.lateness_ms * 1000
    first_us = time.time_ns() // 1000
    end_us, trade_id = first_us + seconds * SECOND_US, 3_000_000_000
    while (now_us := time.time_ns() // 1000) < end_us:
        trade_id += 1
        price = f"{THRESHOLD + (1 if now_us // SECOND_US % 2 else -1):.2f}"
        trades = [Trade(name, trade_id, now_us, price, "1", "b") for name in names]
        closed_us = (now_us - late_us) // SECOND_US * SECOND_US - SECOND_US
        for name in names:
            sent.closed_us.setdefault((name, closed_us), now_us)
        append(client, "trades", SRC, encode_rows(trades), len(trades))
        time.sleep(EVERY_S)
    return sent


def _figures(pipeline: Pipeline, server: Server, sent: Sent) -> dict[str, Any]:
    query = "SELECT body->>'event_id', created_at FROM alert_deliveries WHERE receiver_id = 1"
    queued_us = {event_id: to_us(moment) for event_id, moment in pipeline.rows(query)}
    to_wall_s = time.time() - time.monotonic()
    whole_ms, stored_ms, carried_ms, seen = list[float](), list[float](), list[float](), set[str]()
    for call in list(server.calls):
        body = call.json
        key = (body["symbol_pair"], parse_iso_us(body["timestamp"]))
        if call.path != "/measured" or call.event_key in seen or key not in sent.closed_us:
            continue
        seen.add(call.event_key)
        received_us, written_us = (call.at_s + to_wall_s) * 1e6, queued_us[call.event_key]
        whole_ms.append((received_us - sent.closed_us[key]) / 1e3)
        stored_ms.append((written_us - sent.closed_us[key]) / 1e3)
        carried_ms.append((received_us - written_us) / 1e3)
    if set(queued_us) != {call.event_key for call in server.calls if call.path == "/measured"}:
        raise AssertionError(f"{len(queued_us)} events were queued, {len(seen)} received")
    return {
        "events": len(whole_ms),
        "close_to_webhook_ms": spread(whole_ms),
        "close_to_event_ms": spread(stored_ms),
        "event_to_webhook_ms": spread(carried_ms),
        "at": iso_us(time.time_ns() // 1000),
    }


@click.command()
@click.option("--seconds", default=30, show_default=True, help="Bars of each symbol.")
@click.option("--symbols", default=10, show_default=True, help="Symbols, each with an alert that every bar crosses.")
@click.option("--slow", default=4, show_default=True, help="Receivers beside it that never answer.")
@click.option("--runs", default=1, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(seconds: int, symbols: int, slow: int, runs: int, as_json: bool) -> None:
    """Measure from the close of a bar to the webhook, on private servers."""
    show("Alerts, ms", several(lambda: measure(seconds, symbols, slow), runs), as_json)


if __name__ == "__main__":
    main()
