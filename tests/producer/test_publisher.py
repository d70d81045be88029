"""What Redis can't take waits on the disk and follows in order, before anything newer."""

import logging
import threading
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.lifecycle import Stop
from common.streams import connect_redis
from ops.servers.instance import free_port
from producer.batcher import Batch
from producer.publisher import Publisher, send
from producer.spool import Spool

DEADLINE_S = 60.0


def batch(number: int, stream: str = "trades") -> Batch:
    return Batch(stream, "binance.trade", 1, f"{number}\n")


def streamed(client: redis.Redis, stream: str = "trades") -> list[int]:
    return [int(fields[b"rows"]) for _, fields in client.xrange(stream)]


def until(condition, what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.01)


class Running:
    """A publisher in its thread."""

    def __init__(self, settings, max_bytes: int = 10**9) -> None:
        self.stop, self.client = Stop(), connect_redis(settings)
        self.spool = Spool(settings.data_dir / "spool", max_bytes)
        self.publisher = Publisher(self.client, self.spool, self.stop)
        self.thread = threading.Thread(target=self.publisher.run)
        self.thread.start()

    def end(self) -> None:
        self.stop.ask()
        self.publisher.close()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        self.client.close()


@pytest.fixture
def full(redis_client):
    """A Redis that is full, and the way to give it room again."""
    before = redis_client.config_get("maxmemory")["maxmemory"]
    redis_client.config_set("maxmemory", 1)
    try:
        yield lambda: redis_client.config_set("maxmemory", before)
    finally:
        redis_client.config_set("maxmemory", before)


def test_order_is_kept_over_several_streams(settings, redis_client):
    send(redis_client, [batch(1), batch(2), batch(3, "trades{m1}"), batch(4)])
    assert streamed(redis_client) == [1, 2, 4] and streamed(redis_client, "trades{m1}") == [3]


def test_all_of_a_stream_or_none(settings, redis_client, full):
    with pytest.raises(redis.RedisError):
        send(redis_client, [batch(1), batch(2)])
    assert redis_client.xlen("trades") == 0


def test_a_full_redis_fills_the_spool_and_room_empties_it_in_order(settings, redis_client, full):
    running = Running(settings)
    for number in range(50):
        running.publisher.put(batch(number))
    until(lambda: running.publisher.spooled == 50, "the spool")
    assert redis_client.xlen("trades") == 0
    full()
    for number in range(50, 60):
        running.publisher.put(batch(number))
    until(lambda: redis_client.xlen("trades") == 60, "the replay")
    running.end()
    assert streamed(redis_client) == list(range(60)) and not running.spool


def test_what_is_held_at_the_end_is_on_the_disk(settings, redis_client, full):
    running = Running(settings)
    for number in range(20):
        running.publisher.put(batch(number))
    running.end()
    full()
    again = Running(settings)
    until(lambda: redis_client.xlen("trades") == 20, "the replay")
    again.end()
    assert streamed(redis_client) == list(range(20))


def test_a_full_spool_closes_the_feeds_and_loses_nothing(settings, redis_client, full):
    running = Running(settings, max_bytes=300)
    fed = threading.Thread(target=lambda: [running.publisher.put(batch(number)) for number in range(400)])
    fed.start()
    until(lambda: running.publisher.feeds_closed, "the full spool")
    full()
    fed.join(DEADLINE_S)
    until(lambda: redis_client.xlen("trades") == 400, "the replay")
    until(lambda: not running.publisher.feeds_closed, "the end of the last file")
    running.end()
    assert streamed(redis_client) == list(range(400))


def test_while_redis_is_away_it_is_tried_ever_less_often_and_what_comes_is_spooled(tmp_path, caplog):
    now_s, away = 0.0, redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    publisher = Publisher(away, Spool(tmp_path, 10**9), Stop(), clock_s=lambda: now_s)

    def tries_in(seconds: float, every_s: float) -> int:
        nonlocal now_s
        caplog.clear()
        until_s = now_s + seconds
        while now_s < until_s:
            publisher.put(batch(0))
            publisher.step()
            now_s += every_s
        return sum("Redis does not take trades" in record.getMessage() for record in caplog.records)

    with caplog.at_level(logging.WARNING, "producer.publisher"):
        assert 3 <= tries_in(1.0, 0.04) <= 5, "at once, and 0.05-0.1, 0.1-0.2, 0.2-0.4, 0.4-0.8 s after each other"
        tries_in(8.0, 0.5)
        assert 2 <= tries_in(11.0, 0.5) <= 5, "every 2.5-5 s: not more often, and not more seldom"
    assert publisher.spooled > 60 and publisher.trades == 0 and publisher.idle
    kept = Spool(tmp_path, 10**9)
    found = 0
    while batches := kept.peek(1000):
        found += len(batches)
        kept.drop(len(batches))
    assert found == publisher.spooled, "what could not be sent again stays"
