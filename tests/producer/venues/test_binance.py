"""Every sample message parses to exactly the trade that it states; everything else is told apart, never fatal."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedMessage
from common.trades import Trade
from producer.venues.binance import (
    Control,
    first_since_path,
    page_path,
    parse_first,
    parse_message,
    parse_page,
    parse_refusal,
    stream_url,
)
from tests.producer.paths import fixture


@pytest.mark.parametrize(
    ("name", "kind", "trade"),
    [
        ("binance_spot_trade_raw", "trade", Trade("BNBBTC", 12345, 1672515782136000, "0.001", "100", "s")),
        ("binance_spot_trade_combined_us", "trade", Trade("BTCUSDT", 12345, 1672515782136001, "0.001", "100", "s")),
        ("binance_spot_aggtrade_raw", "aggTrade", Trade("BNBBTC", 12345, 1672515782136000, "0.001", "100", "s")),
        ("binance_usdm_aggtrade_raw", "aggTrade", Trade("BTCUSDT", 5933014, 123456785000, "0.001", "100", "s")),
    ],
)
def test_sample_messages_give_their_trades(name, kind, trade):
    assert parse_message(fixture(f"{name}.json"), kind) == trade


@pytest.mark.parametrize(
    ("name", "kind", "trade"),
    [
        ("binance_rest_historicalTrades", "trade", Trade("X", 28457, 1499865549590000, "4.00000100", "12.00000000", "s")),
        ("binance_rest_aggTrades", "aggTrade", Trade("X", 26129, 1498793709153000, "0.01633102", "4.70443515", "s")),
    ],
)
def test_sample_pages_give_their_trades(name, kind, trade):
    assert parse_page(fixture(f"{name}.json"), "X", kind) == [trade]


def test_the_taker_bought_where_the_buyer_was_not_the_maker():
    message = orjson.loads(fixture("binance_spot_trade_raw.json")) | {"m": False}
    assert parse_message(orjson.dumps(message), "trade").side == "b"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b'{"result":null,"id":1}', "ack"),
        (b'{"code":2,"msg":"Invalid request"}', "refused"),
        (b'{"error":{"code":2,"msg":"no"},"id":1}', "refused"),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}', "shutdown"),
        (b'{"e":"serverShutdown","E":1}', "shutdown"),
        (b'{"e":"kline","E":1,"s":"BTCUSDT"}', "unknown"),
        (b'{"stream":"x","data":{"e":"aggTrade","s":"BTCUSDT","a":1}}', "unknown"),
        (b"{}", "unknown"),
    ],
)
def test_what_is_no_trade_is_named(text, name):
    control = parse_message(text, "trade")
    assert isinstance(control, Control) and control.name == name


FIELDS = ["e", "s", "t", "p", "q", "T", "m", "data", "stream"]
GOOD = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 5, "p": "1.0", "q": "2", "T": 1672515782136, "m": True}


@pytest.mark.parametrize(
    "change",
    [{"p": 1.0}, {"q": 2}, {"t": "5"}, {"t": True}, {"T": "1672515782136"}, {"T": 1.5}, {"m": None}, {"m": 1}, {"s": 7}],
)
def test_a_field_of_another_type_is_malformed(change):
    with pytest.raises(MalformedMessage):
        parse_message(orjson.dumps(GOOD | change), "trade")


@pytest.mark.parametrize("field", "stpqTm")
def test_a_missing_field_is_malformed(field):
    with pytest.raises(MalformedMessage, match=f"without {field}"):
        parse_message(orjson.dumps({key: value for key, value in GOOD.items() if key != field}), "trade")


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60), st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
).map(orjson.dumps)))  # fmt: skip
def test_no_text_does_more_than_raise_malformed(text):
    try:
        parsed = parse_message(text, "trade")
    except MalformedMessage:
        return
    assert type(parsed) in (Trade, Control)


def test_addresses_are_the_venues():
    assert stream_url("ws://h:1", ["BTCUSDT", "ETHUSDT"], "aggTrade") == (
        "ws://h:1/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade&timeUnit=MICROSECOND"
    )
    assert page_path("BTCUSDT", "trade", 7) == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=7&limit=1000"
    assert page_path("BTCUSDT", "aggTrade", 7, 5) == "/api/v3/aggTrades?symbol=BTCUSDT&fromId=7&limit=5"
    assert first_since_path("BTCUSDT", 9) == "/api/v3/aggTrades?symbol=BTCUSDT&startTime=9&limit=1"


def test_the_first_id_since_a_time_is_of_either_kind():
    page = b'[{"a":26129,"p":"0.01","q":"4.7","f":27781,"l":27790,"T":1,"m":true,"M":true}]'
    assert (parse_first(page, "trade"), parse_first(page, "aggTrade"), parse_first(b"[]", "trade")) == (
        (27781, 1000),
        (26129, 1000),
        None,
    )


@pytest.mark.parametrize("text", [b"{}", b"[1]", b"[{}]", b"nope", b'[{"f":"x"}]', b'[{"f":1}]'])
def test_a_page_that_is_none_is_malformed(text):
    with pytest.raises(MalformedMessage):
        parse_page(text, "X", "trade")
    with pytest.raises(MalformedMessage):
        parse_first(text, "trade")


def test_a_refusal_is_a_sentence():
    assert parse_refusal(b'{"code":-1121,"msg":"Invalid symbol."}') == "Invalid symbol. (code -1121)"
    assert parse_refusal(b"<html>") == "<html>"
