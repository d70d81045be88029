"""Server-sent events against a real gunicorn: nothing missed, nothing twice, whatever breaks."""

import http.client
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from common.events import Event, publish
from common.settings import Settings
from common.streams import LIVE, START, EntryId, connect_redis
from tests.web.conftest import NOWHERE
from tests.web.streams import ROOT, Reader, running_web
from web.clients import QUEUE_LENGTH, Batch, Client
from web.frames import Filter, Frame, named_frame, to_frame
from web.health import Health
from web.listening import Primed, listen
from web.live import Hub
from web.stores import Stores

ALL = Filter(frozenset(), frozenset(), frozenset())
BARS = Filter(frozenset({"bar"}), frozenset(), frozenset())  # no health, which comes whenever its time has come
pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def live_settings(servers: object) -> Settings:
    """Of a web whose PostgreSQL is away, which live events don't need."""
    url = servers.redis_url()  # type: ignore[attr-defined]
    return Settings.from_env({}, database_url=NOWHERE, redis_url=url)


@pytest.fixture(scope="module")
def port(live_settings: Settings) -> Iterator[int]:
    """The port of a web that all tests of this file share."""
    with running_web(live_settings.model_copy(update={"live_ticks": "on"})) as (started, _):
        yield started


@pytest.fixture
def events(live_settings: Settings) -> Iterator[redis.Redis]:
    """A client of the Redis of `port`; events of earlier tests are still there, as in life."""
    with connect_redis(live_settings) as client:
        yield client


def bar(number: int, symbol: str = "BTCUSDT", timeframe: str = "1s", event: str = "bar") -> Event:
    return Event(event, {"symbol": symbol, "timeframe": timeframe, "n": number})


def numbers(found: list) -> list[int]:
    return [json.loads(event.text)["n"] for event in found]


def test_a_new_client_gets_what_comes_and_nothing_old(port: int, events: redis.Redis) -> None:
    earlier = Reader(port, "?topics=bars&symbols=OLDUSDT")
    publish(events, [bar(0, "OLDUSDT")])
    assert numbers(earlier.take(1)) == [0]  # the web has read it: what it reads later is new to who comes now
    earlier.close()
    reader = Reader(port, "?topics=bars")
    headers = reader.response.headers
    assert headers["Content-Type"].startswith("text/event-stream")
    assert (headers["X-Accel-Buffering"], "no-cache" in headers["Cache-Control"]) == ("no", True)
    assert reader.response.readline() == b"retry: 1000\n"
    assert reader.response.readline().startswith(b"id: ")
    delays_s = []
    for number in (1, 3, 5):
        began_s = time.monotonic()
        publish(events, [bar(number), bar(number + 1, event="bar.open")])
        found = reader.take(2)
        delays_s.append(time.monotonic() - began_s)
        assert [(event.name, json.loads(event.text)["n"]) for event in found] == [("bar", number), ("bar.open", number + 1)]
    assert min(delays_s) < 2, delays_s  # the quickest: the machine may be busy with others
    newest: list = events.xrevrange(LIVE, count=1)  # type: ignore[assignment]
    assert found[1].id == newest[0][0].decode()
    reader.close()


def test_reconnecting_misses_none_and_repeats_none(port: int, events: redis.Redis) -> None:
    """Two clients that keep breaking off while a thread publishes."""
    start = Reader(port, "?topics=bars&symbols=RESUME")
    start.response.readline(), start.response.readline()
    ids = []

    def follow(every: int) -> None:
        reader, found = Reader(port, "?symbols=RESUME&topics=bars&since=0"), []
        while len(found) < 3000:
            found += reader.take(min(every, 3000 - len(found)))
            reader.close()
            reader = Reader(port, "?symbols=RESUME&topics=bars", found[-1].id)
        reader.close()
        ids.append(numbers(found))

    clients = [threading.Thread(target=follow, args=(every,)) for every in (97, 1000)]
    for client in clients:
        client.start()
    for first in range(0, 3000, 10):
        publish(events, [bar(number, "RESUME") for number in range(first, first + 10)])
    for client in clients:
        client.join(60)
    start.close()
    assert ids == [list(range(3000)), list(range(3000))]


def test_each_client_gets_what_it_asked_for(port: int, events: redis.Redis) -> None:
    spread = Event("spread", {"symbol_pair": "AAA_BBB", "timeframe": "1s", "n": 3})
    alert = Event("alert", {"symbol_pair": "AAA_BBB", "timeframe": "5m", "n": 4})
    one, other = Reader(port, "?symbols=aaa&timeframe=1s&topics=bars,spread,alerts"), Reader(port, "?topics=bars&symbols=CCC")
    publish(events, [bar(1, "AAA"), bar(2, "AAA", "1m"), spread, alert, bar(5, "CCC", event="bar.revised"), bar(6, "AAA")])
    assert numbers(one.take(4)) == [1, 3, 4, 6]
    assert [event.name for event in other.take(1)] == ["bar.revised"]
    one.close()
    other.close()


def test_ticks_are_a_topic_of_their_own_and_have_no_timeframe(port: int, events: redis.Redis) -> None:
    ticks = [Event("tick", {"symbol": symbol, "ticks": [], "n": n}) for n, symbol in enumerate(("TTT", "UUU"))]
    one, other = Reader(port, "?topics=ticks&symbols=TTT&timeframe=1m"), Reader(port, "?topics=bars&symbols=TTT")
    publish(events, [*ticks, bar(2, "TTT"), ticks[0]])
    assert [(event.name, json.loads(event.text)["n"]) for event in one.take(2)] == [("tick", 0), ("tick", 0)]
    assert numbers(other.take(1)) == [2]
    one.close()
    other.close()


def test_an_id_that_is_no_longer_kept_is_a_reset(port: int, events: redis.Redis) -> None:
    earlier = Reader(port, "?topics=bars&symbols=TRIM")
    publish(events, [bar(number, "TRIM") for number in range(20)])
    assert numbers(earlier.take(20)) == list(range(20))  # the web has read them
    earlier.close()
    old: list = events.xrevrange(LIVE, count=20)  # type: ignore[assignment]
    events.xtrim(LIVE, maxlen=5, approximate=False)
    reader = Reader(port, "?topics=bars", old[-1][0].decode())
    (reset,) = reader.take(1)
    assert (reset.name, reset.id) == ("reset", old[0][0].decode())
    assert "load again" in json.loads(reset.text)["reason"]
    publish(events, [bar(99, "TRIM")])
    assert numbers(reader.take(1)) == [99]
    reader.close()
    future = Reader(port, "?topics=bars", "99999999999999-0")
    assert future.take(1)[0].name == "reset"
    future.close()


def test_a_broken_redis_connection_loses_no_event(port: int, events: redis.Redis) -> None:
    reader = Reader(port, "?topics=bars&symbols=CUT")
    publish(events, [bar(1, "CUT")])
    assert numbers(reader.take(1)) == [1]
    events.client_kill_filter(_type="normal", skipme=True)
    publish(events, [bar(2, "CUT")])
    assert numbers(reader.take(1)) == [2]
    reader.close()


def test_past_the_cap_it_is_503_until_a_client_goes(live_settings: Settings) -> None:
    with running_web(live_settings.model_copy(update={"sse_clients": 2})) as (own_port, _):
        readers = [Reader(own_port, "?topics=alerts") for _ in range(2)]
        refused = Reader(own_port)
        assert (refused.response.status, refused.response.headers["Retry-After"]) == (503, "2")
        assert "all 2 live streams are taken" in json.loads(refused.response.read())["error"]
        refused.close()
        readers.pop().close()
        deadline = time.monotonic() + 8  # before the heartbeat: nothing is written to it, and yet it is noticed
        while (again := Reader(own_port)).response.status != 200 and time.monotonic() < deadline:
            again.close()
            time.sleep(0.05)
        assert again.response.status == 200
        again.close()
        readers.pop().close()


def test_sigterm_ends_live_streams_at_once(live_settings: Settings, events: redis.Redis) -> None:
    with running_web(live_settings) as (own_port, process):
        reader = Reader(own_port, "?topics=bars")
        reader.response.readline()
        process.terminate()
        assert list(reader.events()) == []
        assert reader.response.isclosed(), "it has had its last chunk: gunicorn would break it off after 3 s"
        assert process.wait(60) == 0  # gunicorn lingers 2 s on kept-alive connections
        reader.close()


def test_a_stream_that_sigterm_ends_has_an_end(live_settings: Settings, events: redis.Redis) -> None:
    """The last chunk is said: no client takes it for a broken answer."""
    with running_web(live_settings) as (own_port, process), socket.create_connection(("127.0.0.1", own_port), 60) as own:
        own.sendall(b"GET /api/stream?topics=bars HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = own.recv(1 << 16)
        while b"retry: 1000" not in told:
            told += own.recv(1 << 16)
        publish(events, [bar(7, "END")])
        while b"END" not in told:
            told += own.recv(1 << 16)
        process.terminate()
        while came := own.recv(1 << 16):
            told += came
    assert b"Transfer-Encoding: chunked" in told
    assert told.endswith(b"\n\n\r\n0\r\n\r\n")


def test_a_listener_that_does_not_read_is_dropped_and_the_others_go_on(port: int, events: redis.Redis) -> None:
    """What waits for it has an end; when it reads again soon enough it is told, else the line is cut."""
    reader, other = Reader(port, "?topics=bars&symbols=SLOW"), Reader(port, "?topics=bars&symbols=SLOW")
    long = "x" * 5_000
    found: list[int] = []
    for first in range(0, 3 * QUEUE_LENGTH, 500):
        of_page = range(first, first + 500)
        publish(events, [Event("bar", {"symbol": "SLOW", "timeframe": "1s", "n": n, "long": long}) for n in of_page])
        found += numbers(other.take(500))
    assert found == list(range(3 * QUEUE_LENGTH))
    events.delete(LIVE)  # the next tests have a short stream again
    names: list[str] = []
    try:
        names += (event.name for event in reader.events())
        assert names[-1] == "dropped"
    except (http.client.IncompleteRead, ConnectionError):  # the machine is so busy that `other` took longer than GOODBYE_S
        pass
    assert len(names) < len(found)
    reader.close()
    assert {event.name for event in other.events()} <= {":"}  # ends once the web has seen it: it would end who comes next, too
    other.close()


def test_gunicorn_refuses_a_host_open_to_others(live_settings: Settings) -> None:
    environ = {**os.environ, **live_settings.to_env(), "GEMS_HOST": "0.0.0.0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "web.wsgi:app"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    assert ended.stderr.startswith("web: GEMS_HOST:")


@pytest.fixture
def own_settings(live_settings: Settings) -> Settings:
    """Of another Redis database, where the stream may be deleted."""
    return live_settings.model_copy(update={"redis_url": live_settings.redis_url.rsplit("/", 1)[0] + "/7"})


@pytest.fixture
def own_events(own_settings: Settings) -> Iterator[redis.Redis]:
    """A client of that database, emptied."""
    with connect_redis(own_settings) as client:
        client.flushdb()
        yield client


@pytest.fixture
def hub(own_settings: Settings, own_events: redis.Redis) -> Iterator[Hub]:
    """A hub of one's own, whose health is told as a constant fact."""
    made = Hub(lambda: connect_redis(own_settings), lambda: {"rate": 1.5}, 2)
    yield made
    made.close()
    made.wait_ended(60)


def test_a_client_that_reads_too_slowly_is_told_and_dropped(hub: Hub, own_events: redis.Redis) -> None:
    assert hub.enter()
    assert hub.wait_known(60)
    frames = Primed(listen(hub, own_events, ALL, None))
    publish(own_events, [bar(number) for number in range(QUEUE_LENGTH + 10)])
    own = iter(frames)
    head, *rest = [next(own)]
    deadline = time.monotonic() + 60
    while hub._clients and time.monotonic() < deadline:
        time.sleep(0.01)
    rest = list(own)
    assert head.startswith(b"retry: 1000\nid: 0-0")
    assert rest[-1].startswith(b"event: dropped\ndata: ")
    assert hub.enter()
    hub.leave()


def test_a_redis_that_began_anew_ends_its_listeners(hub: Hub, own_events: redis.Redis) -> None:
    publish(own_events, [bar(1)])
    assert hub.enter()
    assert hub.wait_known(60)
    frames = Primed(listen(hub, own_events, BARS, None))
    own_events.delete(LIVE)
    assert len(list(frames)) == 1  # the head alone: the client reconnects, and is told to reset


def test_health_is_told_to_who_asks(hub: Hub, own_events: redis.Redis) -> None:
    assert hub.enter()
    assert hub.wait_known(60)
    frames = iter(Primed(listen(hub, own_events, Filter(frozenset({"health"}), frozenset(), frozenset()), None)))
    next(frames)
    assert next(frames) == b'event: health\ndata: {"rate":1.5}\n\n'


def test_health_that_can_not_be_told_says_so(own_settings: Settings, own_events: redis.Redis) -> None:
    """The tail goes on whatever happens to PostgreSQL."""
    hub = Hub(lambda: connect_redis(own_settings), Health(Stores(own_settings)).facts, 1)
    assert hub.enter()
    assert hub.wait_known(60)
    frames = iter(Primed(listen(hub, own_events, ALL, None)))
    next(frames)
    assert next(frames).startswith(b'event: health\ndata: {"error":"PostgreSQL or Redis')
    publish(own_events, [bar(1)])
    assert b'"n":1' in next(frame for frame in frames if not frame.startswith(b"event: health"))
    hub.close()
    hub.wait_ended(60)


def test_what_is_not_an_event_is_left_out(hub: Hub, own_events: redis.Redis) -> None:
    assert hub.enter()
    assert hub.wait_known(60)
    frames = iter(Primed(listen(hub, own_events, BARS, START)))
    next(frames)
    own_events.xadd(LIVE, {"event": "bar", "data": "not json"})
    publish(own_events, [bar(2)])
    assert b'"n":2' in next(frames)


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (ALL, True),
        (Filter(frozenset({"spread"}), frozenset(), frozenset()), True),
        (Filter(frozenset({"bar"}), frozenset(), frozenset()), False),
        (Filter(frozenset(), frozenset({"BTCUSDT_ETHUSDT"}), frozenset()), True),
        (Filter(frozenset(), frozenset({"ETHUSDT"}), frozenset({"1s"})), True),
        (Filter(frozenset(), frozenset({"ETH"}), frozenset()), False),
        (Filter(frozenset(), frozenset(), frozenset({"1m"})), False),
    ],
)
def test_a_filter_looks_at_kind_subject_and_timeframe(wanted: Filter, passes: bool) -> None:
    frame = to_frame(b"1-0", {b"event": b"spread.revised", b"data": b'{"symbol_pair":"BTCUSDT_ETHUSDT","timeframe":"1s"}'})
    assert frame.text == b'id: 1-0\nevent: spread.revised\ndata: {"symbol_pair":"BTCUSDT_ETHUSDT","timeframe":"1s"}\n\n'
    assert frame.id == EntryId(1, 0)
    assert wanted.wants(frame) is passes


def frame(number: int) -> Frame:
    return to_frame(f"{number}-0".encode(), {b"event": b"bar", b"data": b'{"symbol":"X"}'})


def test_a_queue_never_grows_past_its_length() -> None:
    client, few = Client(ALL), Batch.of([frame(1), frame(2)])
    assert all(client.offer(few) for _ in range(QUEUE_LENGTH // 2))
    assert not client.offer(few)
    assert client.take() == few.text
    assert not client.offer(few), "what was left out would be a hole"


def test_what_a_client_has_read_by_itself_is_not_sent_again() -> None:
    client = Client(ALL)
    client.seen = EntryId(2, 0)
    health = named_frame("health", {})
    for numbers in ([1, 2], [2, 3], [4]):
        client.offer(Batch.of(map(frame, numbers)))
    client.offer(Batch.of([health]))
    assert [client.take() for _ in range(4)] == [b"", frame(3).text, frame(4).text, health.text]
    with pytest.raises(queue.Empty):
        client.take()
    client.offer(None)
    assert client.take() is None
