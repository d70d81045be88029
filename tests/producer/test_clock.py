"""Trades are judged by the stream's clock: a host whose own clock is wrong feeds as any other."""

import time

import pytest

from common.codec import split_rows
from producer.clock import StreamClock
from tests.exchange.running import running_exchange
from tests.producer.test_catchup import producing, until

BEHIND_S = 7200


@pytest.fixture
def slow_clock(monkeypatch):
    now_s, now_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: now_s() - BEHIND_S)
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() - BEHIND_S * 10**9)


def test_it_tells_what_redis_says(redis_client, slow_clock):
    clock = StreamClock()
    clock.measure(redis_client)
    seconds, micros = redis_client.time()
    assert abs(clock.now_ms() - (seconds * 1000 + micros // 1000)) < 1000
    assert abs(clock.ahead_ms - BEHIND_S * 1000) < 1000


def test_a_host_with_a_wrong_clock_refuses_no_good_trade(settings, redis_client, database, tmp_path, slow_clock):
    folder = tmp_path / "sim"
    folder.mkdir()
    with running_exchange(folder, sim_rate=300, symbols="BTCUSDT", pairs="", history="5s") as exchange:
        own = settings.model_copy(update={"sim_port": exchange.port, "symbols": ("BTCUSDT",), "pairs": (), "history": "2s"})
        with producing(own):
            until(lambda: len(redis_client.xrange("trades")) > 50, "trades")
    rows = [row for _, fields in redis_client.xrange("trades") for row in split_rows(fields[b"rows"].decode())]
    ids = [int(row.split(",", 2)[1]) for row in rows]
    assert ids == list(range(ids[0], ids[-1] + 1))
    with database, database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dead_letters")
        assert cursor.fetchone() == (0,)
