"""Live events of trades: every one, exactly as it is stored, and only where they are asked for."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.ticks import MOST, tick_events
from common.codec import encode_rows
from common.streams import LIVE, append
from common.trades import Trade
from tests.aggregator.house import START_US, each_second
from tests.aggregator.running import an_aggregator
from tests.consumer.running import rows, wait


def told(redis_client):
    """Ticks of all events so far, by symbol."""
    bodies = [json.loads(fields[b"data"]) for _, fields in redis_client.xrange(LIVE) if fields[b"event"] == b"tick"]
    return [(body["symbol"], tick) for body in bodies for tick in body["ticks"]]


def test_every_trade_is_told_as_it_is_read(settings, redis_client, database):
    trades = [Trade("A", 5, START_US + 123_456, "43000.12", "0.0123", "b"), Trade("B", 9, START_US, "1", "2.50", "")]
    with an_aggregator(settings.model_copy(update={"symbols": ("A", "B"), "pairs": (), "live_ticks": "on"})):
        append(redis_client, "trades", "binance.trade", encode_rows(trades), 2)
        wait(lambda: len(told(redis_client)) == 2, "two ticks", 60)
    stamp = "2026-01-15T12:00:00"
    assert told(redis_client) == [
        ("A", {"timestamp": f"{stamp}.123456Z", "price": 43000.12, "size": 0.0123, "side": "b", "trade_id": 5}),
        ("B", {"timestamp": f"{stamp}.000000Z", "price": 1.0, "size": 2.5, "side": None, "trade_id": 9}),
    ]


def test_none_is_told_where_nobody_asked_for_it(settings, redis_client, database):
    with an_aggregator(settings.model_copy(update={"symbols": ("A",), "pairs": ()})):
        append(redis_client, "trades", "binance.trade", encode_rows(each_second("A", ["1"] * 20)), 20)
        wait(lambda: rows(database, "SELECT 1 FROM processed_bars WHERE timeframe = '1s'"), "bars", 60)
    assert told(redis_client) == []


@given(st.lists(st.sampled_from("ABC"), max_size=2_000))
@example(["A"] * (2 * MOST + 1))
def test_the_trades_of_a_symbol_stay_in_their_order(symbols):
    trades = [Trade(symbol, number, START_US + number, "1", "1", "s") for number, symbol in enumerate(symbols)]
    events = [event.body for event in tick_events(encode_rows(trades).encode())]
    assert all(0 < len(body["ticks"]) <= MOST for body in events)
    for symbol in "ABC":
        ids = [tick["trade_id"] for body in events if body["symbol"] == symbol for tick in body["ticks"]]
        assert ids == [number for number, name in enumerate(symbols) if name == symbol]
