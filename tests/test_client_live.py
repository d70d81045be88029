"""`gems_client.py` listens to a real web that is killed and comes back: no event is missed, none comes twice."""

import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import redis
import urllib3
from prometheus_client.parser import text_string_to_metric_families

import gems_client
from common.events import Event, publish
from common.settings import Settings
from common.streams import LIVE, connect_redis
from gems_client import Client
from tests.web.conftest import NOWHERE
from tests.web.killable import KillableWeb

MANY, KILLS = 3_000, 3
pytestmark = pytest.mark.process


@pytest.fixture
def live_settings(redis_url: str, tmp_path: Path) -> Settings:
    """Of a web whose PostgreSQL is away, which live events don't need."""
    return Settings.from_env({}, database_url=NOWHERE, redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
def events(live_settings: Settings) -> Iterator[redis.Redis]:
    """Where events are published."""
    with connect_redis(live_settings) as client:
        yield client


def bar(n: int, symbol: str = "BTCUSDT") -> Event:
    return Event("bar", {"symbol": symbol, "timeframe": "1s", "n": n})


def listeners(web: KillableWeb) -> float:
    """How many live streams the web says that it serves."""
    text = urllib3.request("GET", f"{web.url}/metrics").data.decode()
    (found,) = (family for family in text_string_to_metric_families(text) if family.name == "gems_sse_clients")
    return found.samples[0].value


def test_none_is_missed_and_none_comes_twice_while_the_web_is_killed(live_settings: Settings, events: redis.Redis) -> None:
    """The web is killed each time a quarter of the events has come; they are published all the while."""
    found: list[int] = []
    ids: list[str] = []
    came = threading.Condition()

    def listen(url: str) -> None:
        for event in islice(Client(url).stream(topics=["bars"], symbols=["BTCUSDT"], since="0"), MANY):
            with came:
                found.append(event.body["n"])
                ids.append(event.id)
                came.notify()

    with KillableWeb(live_settings) as web:
        listener = threading.Thread(target=listen, args=(web.url,), daemon=True)
        listener.start()
        for part in range(KILLS + 1):
            first, end = part * MANY // (KILLS + 1), (part + 1) * MANY // (KILLS + 1)
            half = (first + end) // 2
            publish(events, [bar(n) for n in range(first, half)] + [bar(-1, "OTHER")])
            with came:
                assert came.wait_for(lambda least=first + 1: len(found) >= least, 60)
            if part < KILLS:
                web.kill()
            for n in range(half, end):
                publish(events, [bar(n)])
            if part < KILLS:
                web.start()
        listener.join(60)
    assert found == list(range(MANY))
    assert len(set(ids)) == MANY


def test_a_listener_that_nothing_has_reached_yet_keeps_its_place(live_settings: Settings, events: redis.Redis) -> None:
    """It has the place at which it came in, though no event has come: what happens while the web is away is not missed."""
    with KillableWeb(live_settings) as web:
        stream = Client(web.url).stream(topics=["bars"])
        found: list[int] = []
        listener = threading.Thread(target=lambda: found.extend(event.body["n"] for event in islice(stream, 2)), daemon=True)
        publish(events, [bar(0)])
        listener.start()
        until_s = time.monotonic() + 60
        while listeners(web) < 1 and time.monotonic() < until_s:
            time.sleep(0.02)
        web.kill()
        publish(events, [bar(1), bar(2)])
        web.start()
        listener.join(60)
    assert found == [1, 2]


def test_what_is_no_longer_kept_is_a_reset(live_settings: Settings, events: redis.Redis) -> None:
    publish(events, [bar(n) for n in range(20)])
    (oldest, _), *_ = events.xrange(LIVE, count=1)
    events.xtrim(LIVE, maxlen=5, approximate=False)
    with KillableWeb(live_settings) as web:
        stream = Client(web.url).stream(topics=["bars"], since=oldest.decode())
        reset = next(stream)
        assert reset.name == "reset" and "load again" in reset.body["reason"] and reset.id
        publish(events, [bar(99)])
        assert next(stream).body["n"] == 99
        stream.close()


def test_a_web_that_is_full_is_asked_again(live_settings: Settings, events: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    with KillableWeb(live_settings.model_copy(update={"sse_clients": 1})) as web:
        first = Client(web.url).stream(since="0")
        publish(events, [bar(0)])
        assert next(first).body["n"] == 0
        waits: list[float] = []

        def leave(seconds: float) -> None:
            waits.append(seconds)
            first.close()
            threading.Event().wait(0.05)

        monkeypatch.setattr(gems_client.time, "sleep", leave)
        second = Client(web.url).stream(since="0")
        assert next(second).body["n"] == 0
        second.close()
    assert waits[0] >= 2  # what Retry-After says
