"""What goes wrong on request, and the limits of a connection's life."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import websocket

from ops.exchange.faults import Faults, changed, disturbed
from tests.exchange.running import RunningExchange, ask, events, running_exchange, until_closed

MESSAGES = [f'{{"t":{number}}}' for number in range(1000)]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    with running_exchange(tmp_path_factory.mktemp("exchange"), sim_rate=600) as running:
        yield running


@pytest.fixture
def exchange(started: RunningExchange) -> Iterator[RunningExchange]:
    yield started
    defaults = vars(Faults())
    assert started.post("/sim/faults", defaults) == defaults


def disturbed_by(**wanted: float) -> list[str]:
    return disturbed(MESSAGES, changed(Faults(), wanted), random.Random(1))


def test_no_fault_changes_nothing() -> None:
    assert disturbed(MESSAGES, Faults(), random.Random(1)) is MESSAGES


def test_each_fault_is_what_it_says() -> None:
    assert 400 < len(disturbed_by(drop=0.5)) < 600
    assert set(Counter(disturbed_by(duplicate=0.5)).values()) == {1, 2}
    reordered = disturbed_by(reorder=0.3)
    assert reordered != MESSAGES and sorted(reordered) == sorted(MESSAGES)
    assert any(not text.endswith("}") for text in disturbed_by(malformed=0.1))
    assert any("newEvent" in text for text in disturbed_by(unknown=0.1))


@pytest.mark.parametrize("wanted", [{"drop": 2}, {"colour": 1}, {"silent": 1}, {"cut_after": -1}, {"drop": "x"}])
def test_bad_fault_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a fault|can not be"):
        changed(Faults(), wanted)


@pytest.mark.process
def test_connections_are_cut_after_so_many_messages(exchange: RunningExchange) -> None:
    exchange.post("/sim/faults", {"cut_after": 50})
    with exchange.connected("/ws/btcusdt@trade") as client:
        assert len(until_closed(client)) <= 50


@pytest.mark.process
def test_dropped_clients_see_the_line_break(exchange: RunningExchange) -> None:
    with exchange.connected("/ws/nobody@trade") as client:
        assert exchange.post("/sim/drop")["dropped"] >= 1
        assert until_closed(client) == []


@pytest.mark.process
def test_silence_is_acknowledged(exchange: RunningExchange) -> None:
    exchange.post("/sim/faults", {"silent": True})
    with exchange.connected("/ws") as client:
        assert ask(client, "SUBSCRIBE", ["btcusdt@trade"], 1) == {"result": None, "id": 1}
        client.settimeout(0.5)
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.recv()


@pytest.mark.process
def test_rest_and_handshakes_are_refused_when_told(exchange: RunningExchange) -> None:
    exchange.post("/sim/faults", {"rest_status": 429, "refuse": True})
    refused = exchange.request("/api/v3/time")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://127.0.0.1:{exchange.port}/ws", timeout=60)
    assert "error" in exchange.post("/sim/faults", {"colour": 1})


@pytest.mark.process
def test_connections_life_ends_with_a_warning(exchange: RunningExchange) -> None:
    exchange.post("/sim/faults", {"life_s": 4.0})
    with exchange.connected("/stream?streams=btcusdt@trade") as client:
        texts = until_closed(client)
    assert sum("serverShutdown" in text for text in texts) == 1
    assert json.loads(texts[-1])["stream"] == "btcusdt@trade"


@pytest.mark.process
def test_client_that_copies_the_pings_lives_and_one_that_does_not_is_disconnected(exchange: RunningExchange) -> None:
    exchange.post("/sim/faults", {"ping_every_s": 0.3, "pong_within_s": 3.0})
    with exchange.connected("/ws/btcusdt@trade") as answering:
        ends_s = time.monotonic() + 4.0
        while time.monotonic() < ends_s:
            events(answering, 1)  # recv() answers pings
    with exchange.connected("/ws/nobody@trade") as silent:
        silent.pong = lambda payload="": websocket.WebSocket.pong(silent, b"other")  # type: ignore[method-assign]
        started_s = time.monotonic()
        until_closed(silent)
        assert 2 < time.monotonic() - started_s < 30
