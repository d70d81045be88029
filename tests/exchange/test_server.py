"""The exchange as its clients see it: a real process, websocket-client and urllib3."""

import json
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.exchange.running import RunningExchange, ask, events, running_exchange, until_closed

pytestmark = pytest.mark.process
BTC_US = "/ws/btcusdt@trade?timeUnit=MICROSECOND"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    with running_exchange(tmp_path_factory.mktemp("exchange"), sim_rate=600, history="30s") as running:
        yield running


def test_combined_stream_wraps_each_symbols_trades_with_contiguous_ids(exchange: RunningExchange) -> None:
    with exchange.connected("/stream?streams=btcusdt@trade/ethusdt@trade&timeUnit=MICROSECOND") as client:
        wrapped = events(client, 400)
    assert {frame["stream"] for frame in wrapped} == {"btcusdt@trade", "ethusdt@trade"}
    for symbol in ("BTCUSDT", "ETHUSDT"):
        trades = [frame["data"] for frame in wrapped if frame["data"]["s"] == symbol]
        ids = [trade["t"] for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert all(trade["T"] <= trade["E"] and abs(trade["E"] - time.time() * 1e6) < 60e6 for trade in trades)
        assert list(trades[0]) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]


def test_aggregates_cover_the_trades_and_count_on(exchange: RunningExchange) -> None:
    with exchange.connected("/ws/btcusdt@aggTrade/btcusdt@trade") as client:
        seen = events(client, 1000)
    aggs = [event for event in seen if event["e"] == "aggTrade"]
    sizes = {event["t"]: event["q"] for event in seen if event["e"] == "trade"}
    assert [agg["a"] for agg in aggs] == list(range(aggs[0]["a"], aggs[0]["a"] + len(aggs)))
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in pairwise(aggs))
    whole = [agg for agg in aggs if all(trade_id in sizes for trade_id in range(agg["f"], agg["l"] + 1))]
    assert len(whole) > 100
    for agg in whole:
        assert _lots(agg["q"]) == sum(_lots(sizes[trade_id]) for trade_id in range(agg["f"], agg["l"] + 1))


def test_times_are_milliseconds_unless_asked_otherwise(exchange: RunningExchange) -> None:
    with exchange.connected("/ws/btcusdt@trade") as client:
        assert events(client, 1)[0]["T"] < 10**14
    with exchange.connected("/ws/btcusdt@trade?timeUnit=microsecond") as client:
        assert events(client, 1)[0]["T"] > 10**14


def test_subscriptions_come_and_go_with_binances_acknowledgements(exchange: RunningExchange) -> None:
    with exchange.connected("/ws") as client:
        assert ask(client, "SUBSCRIBE", ["btcusdt@trade", "nobody@trade"], 1) == {"result": None, "id": 1}
        assert events(client, 3)[0]["e"] == "trade"
        assert ask(client, "LIST_SUBSCRIPTIONS", None, 2) == {"result": ["btcusdt@trade", "nobody@trade"], "id": 2}
        assert ask(client, "SET_PROPERTY", ["combined", True], 3) == {"result": None, "id": 3}
        assert events(client, 1)[0]["stream"] == "btcusdt@trade"
        assert ask(client, "UNSUBSCRIBE", ["btcusdt@trade"], 4) == {"result": None, "id": 4}
        client.settimeout(0.5)
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.recv()


def test_bad_requests_are_answered_and_the_connection_lives(exchange: RunningExchange) -> None:
    with exchange.connected("/ws/nobody@trade") as client:
        client.send("{not json")
        assert json.loads(client.recv())["code"] == 3
        assert ask(client, "SHOUT", [], 1)["code"] == 2
        assert ask(client, "GET_PROPERTY", ["combined"], 2) == {"result": False, "id": 2}


def test_sixth_message_in_a_second_ends_the_connection(exchange: RunningExchange) -> None:
    with exchange.connected("/ws") as client:
        for number in range(6):
            client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        assert len(until_closed(client)) == 5


def test_more_than_1024_streams_end_the_connection(exchange: RunningExchange) -> None:
    with exchange.connected("/ws") as client:
        client.send(json.dumps({"method": "SUBSCRIBE", "params": [f"s{number}@trade" for number in range(1025)], "id": 1}))
        assert len(until_closed(client)) == 1


def test_streamed_trades_equal_those_of_every_rest_route(exchange: RunningExchange) -> None:
    with exchange.connected("/ws/btcusdt@trade/btcusdt@aggTrade?timeUnit=MICROSECOND") as client:
        seen = events(client, 1500)
    trades = [event for event in seen if event["e"] == "trade"]
    stored = exchange.history("/api/v3/historicalTrades?symbol=BTCUSDT", "id", trades[0]["t"], trades[-1]["t"])
    assert [(row["id"], row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in stored] == [
        (trade["t"], trade["p"], trade["q"], trade["T"], trade["m"]) for trade in trades
    ]
    aggs = [{name: event[name] for name in "apqflTmM"} for event in seen if event["e"] == "aggTrade"]
    assert exchange.history("/api/v3/aggTrades?symbol=BTCUSDT", "a", aggs[0]["a"], aggs[-1]["a"]) == aggs
    start_us, end_us = aggs[5]["T"], aggs[90]["T"]
    within = exchange.get(
        f"/api/v3/aggTrades?symbol=BTCUSDT&startTime={start_us}&endTime={end_us}&limit=1000", X_MBX_TIME_UNIT="MICROSECOND"
    )
    assert within == [agg for agg in aggs if start_us <= agg["T"] <= end_us]


def test_newest_trades_are_the_end_of_the_history(exchange: RunningExchange) -> None:
    newest = exchange.get("/api/v3/trades?symbol=BTCUSDT&limit=7")
    assert len(newest) == 7
    assert exchange.get(f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={newest[0]['id']}&limit=7") == newest
    aggs = exchange.get("/api/v3/aggTrades?symbol=BTCUSDT&limit=9")
    assert [agg["a"] for agg in aggs] == list(range(aggs[0]["a"], aggs[0]["a"] + 9))
    until = exchange.get(f"/api/v3/aggTrades?symbol=BTCUSDT&endTime={aggs[4]['T']}&limit=3")
    assert len(until) == 3 and until[-1]["T"] <= aggs[4]["T"]


def test_first_start_has_made_a_past(exchange: RunningExchange) -> None:
    start_ms = int((time.time() - 3600) * 1000)
    oldest = exchange.get(f"/api/v3/aggTrades?symbol=SOLUSDT&startTime={start_ms}&limit=1")[0]
    first_seen_ms = exchange.get("/api/v3/time")["serverTime"]
    assert first_seen_ms - oldest["T"] > 29_000


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v3/trades", -1102),
        ("/api/v3/trades?symbol=NOBODY", -1121),
        ("/api/v3/trades?symbol=BTCUSDT&limit=x", -1100),
        ("/api/v3/trades?symbol=BTCUSDT&colour=red", -1104),
        ("/api/v3/aggTrades?symbol=BTCUSDT&limit=0", -1130),
        ("/api/v3/aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128),
        ("/api/v3/exchangeInfo?symbol=NOBODY", -1121),
    ],
)
def test_bad_query_gets_binances_code(exchange: RunningExchange, path: str, code: int) -> None:
    refused = exchange.request(path)
    assert (refused.status, refused.json()["code"]) == (400, code)


def test_exchange_info_names_the_grids_that_prices_keep(exchange: RunningExchange) -> None:
    found = exchange.get("/api/v3/exchangeInfo?symbol=BTCUSDT")["symbols"]
    assert [(symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) for symbol in found] == [("BTCUSDT", "BTC", "USDT")]
    assert found[0]["filters"][0]["tickSize"] == "0.01000000"
    assert len(exchange.get('/api/v3/exchangeInfo?symbols=["BTCUSDT","ETHUSDT"]')["symbols"]) == 2


def test_slow_client_is_disconnected(exchange: RunningExchange, tmp_path: Path) -> None:
    with running_exchange(tmp_path, sim_rate=100_000) as fast, fast.connected("/stream?streams=btcusdt@trade/ethusdt@trade"):
        wait_until(lambda: "reads too slowly" in fast.log())
        wait_until(lambda: fast.get("/sim/state")["clients"] == [])


def test_used_weight_is_told_and_past_the_limit_comes_429_with_retry_after(tmp_path: Path) -> None:
    with running_exchange(tmp_path) as exchange:
        first = exchange.request("/api/v3/historicalTrades?symbol=BTCUSDT")
        assert int(first.headers["X-MBX-USED-WEIGHT-1M"]) >= 25
        statuses = [first.status]
        while statuses[-1] == 200:
            answer = exchange.request("/api/v3/historicalTrades?symbol=BTCUSDT&limit=1")
            statuses.append(answer.status)
        assert statuses[-1] == 429 and 0 < int(answer.headers["Retry-After"]) <= 60
        assert answer.json()["code"] == -1003


def test_after_kill_9_ids_prices_and_history_go_on(tmp_path: Path) -> None:
    with running_exchange(tmp_path, sim_rate=3000) as exchange:
        with exchange.connected(BTC_US) as client:
            before = events(client, 2000)
            exchange.stop(signal.SIGKILL)
            before += [json.loads(text) for text in until_closed(client) if text.endswith("}")]
        exchange.start()
        with exchange.connected(BTC_US) as client:
            after = events(client, 500)
        stored = exchange.history("/api/v3/historicalTrades?symbol=BTCUSDT", "id", before[0]["t"], after[-1]["t"])
    assert [row["id"] for row in stored] == list(range(before[0]["t"], after[-1]["t"] + 1))
    by_id = {row["id"]: (row["price"], row["qty"], row["time"]) for row in stored}
    for trade in before + after:
        assert by_id[trade["t"]] == (trade["p"], trade["q"], trade["T"])
    assert float(after[0]["p"]) == pytest.approx(float(before[-1]["p"]), rel=5e-3)


def test_sigterm_warns_closes_and_exits_within_seconds(tmp_path: Path) -> None:
    with running_exchange(tmp_path) as exchange, exchange.connected("/stream?streams=btcusdt@trade") as client:
        asked_s = time.monotonic()
        assert exchange.stop() == 0
        assert time.monotonic() - asked_s < 15  # a second where the machine is idle; aiohttp's own patience is a minute
        assert json.loads(until_closed(client)[-1])["stream"] == "!serverShutdown"


def test_second_exchange_in_the_same_folder_and_a_taken_port_are_refused(tmp_path: Path) -> None:
    with running_exchange(tmp_path) as exchange:
        twin = RunningExchange(tmp_path)
        with pytest.raises(AssertionError, match="another simulated exchange"):
            twin.start()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        with pytest.raises(AssertionError, match=f"{exchange.port} can not be listened on"):
            RunningExchange(elsewhere, sim_port=exchange.port).start()


def wait_until(true: Any, seconds: float = 30.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def _lots(size: str) -> int:
    return int(size.replace(".", ""))
