"""Binance's routes: the same rows as our own, in Binance's shapes, limits and errors."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.partitions import ensure_month_leaves
from common.timeframes import TIMEFRAMES_S
from common.trades import from_us, to_us
from tests.web.rows import AT, add_source, add_ticks, second
from web.binance.exchange import base_and_quote
from web.binance.intervals import NAMES, Interval

_COLUMNS = (
    "symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap, taker_buy_volume,"
    " taker_buy_quote_volume, first_trade_id, last_trade_id, status"
)


def add_candles(database: Connection, timeframe: str, candles: dict[datetime, tuple[str, str, str, str, str, int]]) -> None:
    """Store bars of BTCUSDT: start -> (open, high, low, close, volume, trades); a third of the volume was bought."""
    add_source(database, "BTCUSDT")
    ensure_month_leaves(database, {start.date() for start in candles})
    rows = []
    for start, (o, h, low, c, v, n) in candles.items():
        volume, vwap = Decimal(v), Decimal(c)
        sums = (v, n, volume * vwap, vwap, volume / 4, volume / 4 * vwap, 1, n)
        rows.append(("BTCUSDT", timeframe, start, o, h, low, c, *sums, "complete"))
    with database, database.cursor() as cursor:
        execute_values(cursor, f"INSERT INTO processed_bars ({_COLUMNS}) VALUES %s", rows)  # noqa: S608 - names of this file


def ask(client: FlaskClient, path: str) -> Any:
    response = client.get(f"/api/v3/{path}")
    assert response.status_code == 200, response.text
    return response.get_json()


def ms(moment: datetime) -> int:
    return to_us(moment) // 1000


def test_a_kline_is_the_bar_with_its_decimals_as_text(client: FlaskClient, database: Connection) -> None:
    add_candles(database, "1m", {AT: ("43000.12", "43001", "42999.9", "43000.5", "1.25", 7)})
    add_candles(database, "1s", {AT: ("43000.12", "43001", "42999.9", "43000.5", "1.25", 7)})
    assert ask(client, "klines?symbol=BTCUSDT&interval=1m") == [[
        ms(AT), "43000.12000000", "43001.00000000", "42999.90000000", "43000.50000000", "1.25000000", ms(AT) + 59_999,
        "53750.62500000", 7, "0.31250000", "13437.65625000", "0",
    ]]  # fmt: skip
    assert ask(client, "uiKlines?symbol=BTCUSDT&interval=1m") == ask(client, "klines?symbol=BTCUSDT&interval=1m")


def test_longer_intervals_roll_up_with_what_has_closed_of_the_newest(client: FlaskClient, database: Connection) -> None:
    add_candles(database, "5m", {AT + timedelta(minutes=5 * n): ("10", str(20 + n), "5", str(10 + n), "1", 2) for n in range(12)})
    add_candles(database, "1s", {
        AT: ("10", "20", "5", "10", "1", 2),
        AT + timedelta(minutes=59, seconds=59): ("10", "31", "5", "21", "1", 2),
        AT + timedelta(minutes=60): ("21", "40", "4", "22", "3", 5),
    })  # fmt: skip
    hours = ask(client, "klines?symbol=BTCUSDT&interval=1h")
    assert [row[:6] + row[8:9] for row in hours] == [
        [ms(AT), "10.00000000", "31.00000000", "5.00000000", "21.00000000", "12.00000000", 24],
        [ms(AT) + 3_600_000, "21.00000000", "40.00000000", "4.00000000", "22.00000000", "3.00000000", 5],
    ]


def test_a_quiet_slot_stands_at_the_close_before_it(client: FlaskClient, database: Connection) -> None:
    add_candles(database, "1s", {second(0): ("10", "10", "10", "10", "1", 1), second(3): ("12", "12", "12", "12", "1", 1)})
    rows = ask(client, "klines?symbol=BTCUSDT&interval=1s")
    assert [(row[0], row[4], row[8]) for row in rows] == [
        (ms(second(n)), close, count) for n, (close, count) in enumerate(
            [("10.00000000", 1), ("10.00000000", 0), ("10.00000000", 0), ("12.00000000", 1)])
    ]  # fmt: skip
    later = ask(client, f"klines?symbol=BTCUSDT&interval=1s&startTime={ms(second(1))}&endTime={ms(second(2))}")
    assert [(row[0], row[4]) for row in later] == [(ms(second(1)), "10.00000000"), (ms(second(2)), "10.00000000")]


def test_times_are_included_and_limits_keep_the_oldest_or_the_newest(client: FlaskClient, database: Connection) -> None:
    add_candles(database, "1s", {second(n): ("1", "1", "1", "1", "1", 1) for n in range(10)})
    starts = lambda query: [row[0] for row in ask(client, f"klines?symbol=BTCUSDT&interval=1s&{query}")]  # noqa: E731
    assert starts("limit=3") == [ms(second(n)) for n in (7, 8, 9)]
    assert starts(f"startTime={ms(second(2))}&limit=3") == [ms(second(n)) for n in (2, 3, 4)]
    assert starts(f"startTime={ms(second(2)) + 1}&limit=1") == [ms(second(3))]
    assert starts(f"startTime={ms(second(2))}&endTime={ms(second(3))}") == [ms(second(2)), ms(second(3))]
    assert starts(f"endTime={ms(second(1))}") == [ms(second(0)), ms(second(1))]
    assert starts(f"startTime={ms(second(50))}") == []
    micro = client.get("/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=1", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert micro.get_json()[0][0] == to_us(second(9))
    assert micro.get_json()[0][6] == to_us(second(10)) - 1


def test_trades_are_our_ticks(client: FlaskClient, database: Connection) -> None:
    add_ticks(database, "BTCUSDT", [(n, second(n), "43000.12", "0.5", "s" if n % 2 else "b", None) for n in range(1, 6)])
    assert ask(client, "trades?symbol=BTCUSDT&limit=1") == [{
        "id": 5, "price": "43000.12000000", "qty": "0.50000000", "quoteQty": "21500.06000000", "time": ms(second(5)),
        "isBuyerMaker": True, "isBestMatch": True,
    }]  # fmt: skip
    assert [row["id"] for row in ask(client, "historicalTrades?symbol=BTCUSDT&fromId=2&limit=2")] == [2, 3]
    assert [row["id"] for row in ask(client, "historicalTrades?symbol=BTCUSDT")] == [1, 2, 3, 4, 5]
    between = ask(client, f"aggTrades?symbol=BTCUSDT&startTime={ms(second(2))}&endTime={ms(second(4))}")
    assert [(row["a"], row["T"], row["m"]) for row in between] == [
        (2, ms(second(2)), False), (3, ms(second(3)), True), (4, ms(second(4)), False),
    ]  # fmt: skip
    assert [row["a"] for row in ask(client, "aggTrades?symbol=BTCUSDT&fromId=4")] == [4, 5]


def test_tickers_sum_the_day(client: FlaskClient, database: Connection) -> None:
    day_before = AT - timedelta(days=1)
    add_candles(database, "1m", {
        day_before - timedelta(minutes=1): ("7", "7", "7", "8", "1", 1),
        day_before: ("10", "12", "9", "11", "2", 3),
        AT - timedelta(minutes=1): ("11", "15", "8", "12", "2", 4),
    })  # fmt: skip
    add_candles(database, "1s", {AT: ("12", "13", "12", "13", "1", 1)})
    add_ticks(database, "BTCUSDT", [(9, AT + timedelta(milliseconds=5), "13", "0.25", "b", None)])
    ticker = ask(client, "ticker/24hr?symbol=BTCUSDT")
    assert {name: ticker[name] for name in ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "count", "priceChange",
                                            "priceChangePercent", "prevClosePrice", "lastQty", "closeTime")} == {
        "openPrice": "10.00000000", "highPrice": "15.00000000", "lowPrice": "8.00000000", "lastPrice": "13.00000000",
        "volume": "5.00000000", "count": 8, "priceChange": "3.00000000", "priceChangePercent": "30.000",
        "prevClosePrice": "8.00000000", "lastQty": "0.25000000", "closeTime": ms(AT) + 5,
    }  # fmt: skip
    assert [row["symbol"] for row in ask(client, "ticker/24hr?type=MINI")] == ["BTCUSDT"]
    assert "priceChange" not in ask(client, "ticker/24hr?type=MINI&symbol=BTCUSDT")
    assert ask(client, "ticker/price?symbol=BTCUSDT") == {"symbol": "BTCUSDT", "price": "13.00000000"}
    assert ask(client, "ticker/price") == [{"symbol": "BTCUSDT", "price": "13.00000000"}]


def test_the_exchange_lists_what_has_ticks_with_the_steps_seen(client: FlaskClient, database: Connection) -> None:
    add_candles(database, "1s", {AT: ("43000.12", "43000.12", "43000.1", "43000.12", "0.0125", 1)})
    listed = ask(client, "exchangeInfo")["symbols"]
    assert [(row["symbol"], row["baseAsset"], row["quoteAsset"]) for row in listed] == [("BTCUSDT", "BTC", "USDT")]
    steps = {row["filterType"]: row for row in listed[0]["filters"]}
    assert (steps["PRICE_FILTER"]["tickSize"], steps["LOT_SIZE"]["stepSize"]) == ("0.01000000", "0.00010000")
    assert ask(client, 'exchangeInfo?symbols=["BTCUSDT"]')["symbols"] == listed
    assert ask(client, "ping") == {}
    assert abs(ask(client, "time")["serverTime"] - ms(datetime.now(UTC))) < 60_000


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("klines?interval=1m", -1102), ("klines?symbol=&interval=1m", -1102), ("klines?symbol=NOSUCH&interval=1m", -1121),
        ("klines?symbol=btcusdt&interval=1m", -1121), ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("klines?symbol=BTCUSDT&interval=1m&limit=x", -1100), ("klines?symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("klines?symbol=BTCUSDT&interval=1m&limit=-1", -1100), ("klines?symbol=BTCUSDT&interval=1m&startTime=NaN", -1100),
        ("klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", -1127),
        ("klines?symbol=BTCUSDT&interval=1m&timeZone=8", -1100),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128), ("aggTrades?symbol=BTCUSDT&fromId=1e5", -1100),
        ("exchangeInfo?symbols=BTCUSDT", -1100), ('exchangeInfo?symbols=["X"]', -1121), ("exchangeInfo?symbols=[[1]]", -1121),
        ("ticker/24hr?symbol=BTCUSDT&type=HUGE", -1100), ("ticker/price?symbol=X';--", -1121),
    ],
)  # fmt: skip
def test_what_is_wrong_has_binances_code(client: FlaskClient, database: Connection, path: str, code: int) -> None:
    add_candles(database, "1s", {AT: ("1", "1", "1", "1", "1", 1)})
    response = client.get(f"/api/v3/{path}")
    assert (response.status_code, response.get_json()["code"]) == (400, code), response.text
    assert response.get_json()["msg"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("get", "depth?symbol=BTCUSDT", 404), ("post", "order", 404), ("post", "klines", 405)]
)
def test_what_there_is_not_has_a_code_and_a_message_too(client: FlaskClient, method: str, path: str, status: int) -> None:
    body = getattr(client, method)(f"/api/v3/{path}").get_json()
    assert (body["code"], body["status"]) == (-1000, status)
    assert body["msg"] == body["error"] != ""


def test_an_empty_database_has_no_symbols(client: FlaskClient, database: Connection) -> None:
    assert ask(client, "exchangeInfo")["symbols"] == []
    assert ask(client, "ticker/price") == ask(client, "ticker/24hr") == []


@given(st.sampled_from(NAMES), st.integers(0, 4_000_000_000_000_000), st.integers(-50, 50))
def test_slots_cover_time_without_holes(name: str, at_us: int, slots: int) -> None:
    interval = Interval.parse(name)
    start_us = interval.start_us(at_us)
    assert start_us <= at_us < interval.moved_us(start_us, 1)
    assert interval.start_us(interval.moved_us(start_us, 1)) == interval.moved_us(start_us, 1)
    if interval.moved_us(start_us, slots) >= 0:
        assert interval.moved_us(interval.moved_us(start_us, slots), -slots) == start_us


def test_weeks_begin_on_mondays_and_months_on_their_first() -> None:
    at_us = to_us(datetime(2026, 11, 26, 13, tzinfo=UTC))
    assert from_us(Interval("1w").start_us(at_us)) == datetime(2026, 11, 23, tzinfo=UTC)
    assert from_us(Interval("1M").moved_us(Interval("1M").start_us(at_us), 2)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_every_interval_is_filled_by_a_timeframe_that_is_built() -> None:
    assert Interval("1h").source(("1s", "1m", "5m")) == "5m"
    assert Interval("3m").source(("1s", "1m", "5m")) == "1m"
    assert Interval("1M").source(("1s", "1m", "4h")) == "4h"
    assert all(Interval(name).source(tuple(TIMEFRAMES_S)) for name in NAMES)


def test_a_symbol_is_split_at_its_quote_asset() -> None:
    assert base_and_quote("ETHBTC") == ("ETH", "BTC")
    assert base_and_quote("BINANCEUM:BTCUSDT") == ("BTC", "USDT")
    assert base_and_quote("USDT") == ("USDT", "")
