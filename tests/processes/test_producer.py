"""The producer against the simulated exchange, real Redis and PostgreSQL: whatever is killed, no id is missing."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from common.codec import split_rows
from common.settings import Settings
from common.sources import register_source
from common.streams import connect_redis
from ops.embedded import PrivateServers
from tests.exchange.running import RunningExchange, running_exchange
from tests.processes.feeding import DEADLINE_S, fact, producing, until
from tests.processes.feeding import feed_settings as settings_of_feed
from tests.producer.venue import CLIENTS
from tests.servers import FreshDatabases, private_servers

pytestmark = pytest.mark.process
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[RunningExchange]:
    folder = tmp_path / "sim"
    folder.mkdir()
    with running_exchange(folder, sim_rate=400, symbols=",".join(SYMBOLS), history="5s") as running:
        yield running


def feed_settings(settings: Settings, exchange: RunningExchange, **more: Any) -> Settings:
    return settings_of_feed(settings, exchange, **{"symbols": SYMBOLS, **more})


def streamed_ids(client: redis.Redis) -> dict[str, list[int]]:
    """All ids of each symbol in the order of the stream."""
    ids: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
    for _, fields in client.xrange("trades"):
        for row in split_rows(fields[b"rows"].decode()):
            symbol, trade_id, _ = row.split(",", 2)
            ids[symbol].append(int(trade_id))
    return ids


def wait_past(client: redis.Redis, exchange: RunningExchange) -> None:
    """Until the stream holds what the exchange traded up to now."""
    newest = {s: found["trade_id"] for s, found in exchange.get("/sim/state")["symbols"].items()}
    until(
        lambda: all(max(ids[s], default=0) >= newest[s] for ids in [streamed_ids(client)] for s in SYMBOLS), "the newest trades"
    )


def wait_caught_up(client: redis.Redis) -> None:
    """Until the producer tells, after what is streamed now, that it fetches nothing: the first fetch may take many pages."""
    streamed = sum(map(len, streamed_ids(client).values()))
    until(lambda: fact(client, "trades") >= streamed and client.hget("health:producer", "catching") == b"", "the end of fetching")


def assert_none_is_missing(client: redis.Redis, once: bool = True) -> None:
    """Ids are contiguous, each once or (`once=False`) at least once."""
    for symbol, ids in streamed_ids(client).items():
        assert ids, symbol
        assert sorted(set(ids)) == list(range(min(ids), max(ids) + 1)), symbol
        if once:
            assert len(ids) == len(set(ids)), symbol


def test_history_then_live_trades_in_order_and_sigterm_sends_what_is_held(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange, linger_ms=1000.0)) as producer:
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    for ids in streamed_ids(redis_client).values():
        assert ids == list(range(ids[0], ids[-1] + 1)) and len(ids) > 300
    first = redis_client.xrange("trades", count=1)[0][1]
    assert first[b"v"] == b"1" and first[b"src"] == b"binance.trade" and int(first[b"n"]) == first[b"rows"].count(b"\n")


def test_kill_9_and_start_again_misses_no_trade(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange)) as producer:
        for _ in range(3):
            wait_past(redis_client, exchange)
            producer.stop(signal.SIGKILL)
            time.sleep(0.3)
            producer.start()
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    assert_none_is_missing(redis_client)


def test_a_dropped_line_is_reconnected_and_filled(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange)) as producer:
        for drops in (1, 2, 3):
            wait_past(redis_client, exchange)
            exchange.post("/sim/drop")
            until(lambda drops=drops: fact(redis_client, "reconnects") >= drops, "the reconnection")
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    assert_none_is_missing(redis_client)


@pytest.mark.parametrize("ws_client", CLIENTS)
def test_a_faulty_line_gives_each_trade_once(settings, redis_client, exchange, ws_client):
    exchange.post("/sim/faults", {"duplicate": 0.1, "reorder": 0.05, "drop": 0.02, "malformed": 0.1, "unknown": 0.1})
    with producing(feed_settings(settings, exchange, ws_client=ws_client)) as producer:
        until(lambda: fact(redis_client, "malformed") > 50 and fact(redis_client, "repeats") > 20, "faults")
        exchange.post("/sim/faults", {"duplicate": 0.0, "reorder": 0.0, "drop": 0.0})
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
        assert "that can not be used" in producer.log()
    assert_none_is_missing(redis_client)


def test_a_silent_line_is_replaced(settings, redis_client, exchange):
    exchange.post("/sim/faults", {"silent": True})
    with producing(feed_settings(settings, exchange, stale_after_s=0.5)) as producer:
        until(lambda: fact(redis_client, "reconnects") >= 1, "a new connection")
        exchange.post("/sim/faults", {"silent": False})
        exchange.post("/sim/drop")
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
        assert "no message for 0.5 s" in producer.log()
    assert_none_is_missing(redis_client)


@pytest.mark.parametrize("ws_client", CLIENTS)
def test_an_announced_shutdown_is_moved_away_from_without_a_break(settings, redis_client, exchange, ws_client):
    began_s = time.monotonic()
    with producing(feed_settings(settings, exchange, ws_client=ws_client)) as producer:
        wait_past(redis_client, exchange)
        exchange.post("/sim/faults", {"life_s": 6.0 + time.monotonic() - began_s})  # of which it has lived some already
        until(lambda: fact(redis_client, "reconnects") >= 1, "the move")
        exchange.post("/sim/faults", {"life_s": 86400.0})
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
        assert "announces its shutdown" in producer.log()
        assert "connecting again" not in producer.log()
    assert_none_is_missing(redis_client)


def test_an_exchange_that_is_killed_is_waited_for(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange)) as producer:
        wait_past(redis_client, exchange)
        exchange.stop(signal.SIGKILL)
        exchange.start()
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    assert_none_is_missing(redis_client)


def test_a_rest_that_does_not_answer_is_tried_again(settings, redis_client, exchange):
    exchange.post("/sim/faults", {"rest_status": 503})
    with producing(feed_settings(settings, exchange)) as producer:
        until(lambda: "next try" in producer.log(), "a refusal")
        exchange.post("/sim/faults", {"rest_status": 0})
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    assert_none_is_missing(redis_client)


@pytest.fixture
def own_servers() -> Iterator[PrivateServers]:
    with private_servers() as servers:
        yield servers


def test_while_redis_is_away_trades_wait_on_the_disk(own_servers, exchange, tmp_path):
    databases = FreshDatabases(own_servers)
    with databases.one() as url:
        own = Settings.from_env({}, database_url=url, redis_url=own_servers.redis_url(), data_dir=tmp_path)
        with connect_redis(own) as client, producing(feed_settings(own, exchange)) as producer:
            wait_past(client, exchange)
            own_servers.kill("redis")
            until(lambda: list((tmp_path / "spool").glob("*.spool")), "the spool")
            time.sleep(0.5)
            producer.stop(signal.SIGKILL)  # what is in the spool outlives the producer too
            producer.start()
            own_servers.start("redis")
            wait_past(client, exchange)
            until(lambda: fact(client, "connected") and not fact(client, "spool_bytes"), "the end of the spool")
            own_servers.kill("redis")
            time.sleep(0.5)
            own_servers.start("redis")
            wait_past(client, exchange)
            assert producer.stop() == 0
            assert_none_is_missing(client, once=False)
    databases.close()


def test_a_symbol_of_another_source_is_left_out(settings, redis_client, database, exchange):
    register_source(database, "ETHUSDT", "binance.aggTrade")
    with producing(feed_settings(settings, exchange)) as producer:
        until(lambda: streamed_ids(redis_client)["BTCUSDT"], "the other symbol")
        assert producer.stop() == 0
        assert "ETHUSDT is left out" in producer.log()
    assert streamed_ids(redis_client)["ETHUSDT"] == []


def test_without_a_symbol_left_it_exits_with_the_code_for_settings(settings, redis_client, database, exchange):
    for symbol in SYMBOLS:
        register_source(database, symbol, "binance.aggTrade")
    with producing(feed_settings(settings, exchange)) as producer:
        assert producer.process is not None and producer.process.wait(DEADLINE_S) == 78
        assert "none can be fed" in producer.log()


def test_a_client_library_that_can_not_be_loaded_is_told_with_its_setting(settings, exchange, tmp_path, monkeypatch):
    (tmp_path / "picows.py").write_text("raise ImportError('not for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with producing(feed_settings(settings, exchange, ws_client="picows", redis_url="redis://127.0.0.1:1/0")) as producer:
        assert producer.process is not None and producer.process.wait(DEADLINE_S) == 78
        assert "GEMS_WS_CLIENT: picows can not be loaded (not for this machine)" in producer.log()


def test_the_heartbeat_tells_the_facts(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange, connections=2, feed_kind="aggTrade")) as producer:
        until(lambda: fact(redis_client, "connected") == 2 and fact(redis_client, "trades"), "both connections")
        facts = {name.decode(): value.decode() for name, value in redis_client.hgetall("health:producer").items()}
        assert set(json.loads(facts["last_trade_us"])) <= set(SYMBOLS) and facts["spool_bytes"] == "0"
        assert producer.stop() == 0
    assert redis_client.xrange("trades", count=1)[0][1][b"src"] == b"binance.aggTrade"
    assert_none_is_missing(redis_client)


def test_a_second_producer_waits_for_the_spool(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange)) as producer:
        wait_past(redis_client, exchange)
        with producing(producer.settings) as second:
            until(lambda: "another producer works" in second.log(), "its word")
            assert producer.stop() == 0
            wait_past(redis_client, exchange)
            assert second.stop() == 0
    assert_none_is_missing(redis_client)


def test_a_connection_is_replaced_in_time_with_overlap_and_nothing_has_to_be_fetched(settings, redis_client, exchange):
    with producing(feed_settings(settings, exchange, rotate_after_h=1.0 / 3600)) as producer:
        wait_past(redis_client, exchange)
        wait_caught_up(redis_client)
        exchange.post("/sim/faults", {"rest_status": 503})
        until(lambda: fact(redis_client, "reconnects") >= 4, "four moves")
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
        assert "connecting again" not in producer.log() and "REST" not in producer.log()
    assert_none_is_missing(redis_client)


@pytest.mark.parametrize("status", [418, 429])
def test_a_venue_that_says_when_to_come_back_is_not_asked_before(settings, redis_client, exchange, status):
    """Two symbols catch up: both heed the one answer."""
    with producing(feed_settings(settings, exchange)) as producer:
        wait_past(redis_client, exchange)
        before = exchange.get("/sim/state")["rest_refused"]
        exchange.post("/sim/faults", {"rest_status": status, "retry_after_s": 6})
        exchange.post("/sim/drop")
        until(lambda: exchange.get("/sim/state")["rest_refused"] > before, "a refusal")
        began_s = time.monotonic()
        until(lambda: time.monotonic() - began_s > 3.5 or exchange.get("/sim/state")["rest_refused"] > before + 1, "its wait")
        assert exchange.get("/sim/state")["rest_refused"] == before + 1
        exchange.post("/sim/faults", {"rest_status": 0})
        wait_past(redis_client, exchange)
        assert producer.stop() == 0
    assert_none_is_missing(redis_client)


def test_two_producers_are_told_apart_and_the_first_name_is_free_again_after_a_death(settings, redis_client, exchange, tmp_path):
    def told() -> dict[str, str]:
        keys = sorted(key.decode() for key in redis_client.scan_iter("health:producer*"))
        return {key: redis_client.hget(key, "who").decode().rpartition("/")[2] for key in keys}

    with producing(feed_settings(settings, exchange, data_dir=tmp_path / "one")) as one:
        until(lambda: told() == {"health:producer": "one"}, "its word")
        with producing(feed_settings(settings, exchange, data_dir=tmp_path / "two")) as two:
            until(lambda: told() == {"health:producer": "one", "health:producer_2": "two"}, "both")
            one.stop(signal.SIGKILL)
            redis_client.delete("health:producer")  # as 30 s later
            one.start()
            until(lambda: told() == {"health:producer": "one", "health:producer_2": "two"}, "both again")
            assert (one.stop(), two.stop()) == (0, 0)


def test_what_rest_refuses_is_a_recorded_gap_and_fetched_after_the_next_start(settings, redis_client, database, exchange):
    def open_gaps() -> list[tuple[int, int, str]]:
        with database, database.cursor() as cursor:
            cursor.execute("SELECT first_id, last_id, note FROM gaps WHERE state = 'open' AND symbol = 'BTCUSDT'")
            return cursor.fetchall()

    def in_gaps() -> set[int]:
        return {trade_id for first, last, _ in open_gaps() for trade_id in range(first, last + 1)}

    def missed_from() -> int:
        return exchange.get("/sim/state")["symbols"]["BTCUSDT"]["trade_id"]

    def missing() -> set[int]:
        ids = streamed_ids(redis_client)["BTCUSDT"]
        return set(range(min(ids), max(ids) + 1)) - set(ids)

    with producing(feed_settings(settings, exchange)) as producer:
        wait_past(redis_client, exchange)
        exchange.post("/sim/faults", {"rest_status": 451, "silent": True})
        first = missed_from()
        until(lambda: missed_from() > first + 20, "trades that are missed")
        exchange.post("/sim/faults", {"silent": False})
        gaps = until(open_gaps, "a recorded gap")
        assert all("REST refuses" in note for _, _, note in gaps)
        until(lambda: in_gaps() == missing() != set(), "what is missing, and only that, in gaps")
        assert producer.stop() == 0
        exchange.post("/sim/faults", {"rest_status": 0})
        producer.start()
        until(lambda: not missing(), "what was missing")
        assert producer.stop() == 0
