"""What the read routes answer, against SQL."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.processes.feeding import until
from tests.web.rows import AT, add_bars, add_pair_rows, add_source, add_stats, add_ticks, second
from web.queries.ticks import window_starts
from web.stores import PAGES_AT_ONCE, ROWS_TURN, Stores
from web.turns import Turns

Rows = list[dict[str, Any]]


def get(client: FlaskClient, path: str, name: str) -> Rows:
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.mimetype == "application/json"
    body = response.get_json()
    assert body["count"] == len(body[name])
    return body[name]


def test_ticks_come_newest_first_in_the_total_order(client: FlaskClient, database: Connection) -> None:
    same = second(1)
    add_ticks(
        database, "BTCUSDT",
        [(7, same, "1", "1", "b", None), (9, same, "2", "1", "s", None), (-5, same, "3", "1", None, 4),
         (1, second(2), "4", "0.5", "b", None)],
    )  # fmt: skip
    ticks = get(client, "/api/ingestion/ticks/?symbol=BTCUSDT", "ticks")
    assert [tick["trade_id"] for tick in ticks] == [1, -5, 9, 7]
    assert ticks[0] == {
        "symbol": "BTCUSDT", "timestamp": "2026-11-23T07:00:02.000000Z", "price": 4, "size": 0.5, "side": "b",
        "trade_id": 1, "seq": None,
    }  # fmt: skip
    assert [tick["trade_id"] for tick in get(client, "/api/ingestion/ticks?symbol=btcusdt&order=asc", "ticks")] == [7, 9, -5, 1]


def test_a_wrong_hint_of_the_bars_never_hides_a_tick(client: FlaskClient, database: Connection) -> None:
    """Bars are only a hint: missing ones, and ones that promise more than there is, change nothing."""
    ticks = [(n, second(n * 40), "1", "1", "b", None) for n in range(100)]
    add_ticks(database, "BTCUSDT", ticks)
    newest = list(range(99, 49, -1))
    path = "/api/ingestion/ticks/?symbol=BTCUSDT&limit=50"
    assert [t["trade_id"] for t in get(client, path, "ticks")] == newest
    add_bars(database, "BTCUSDT", [second(3900)], tick_count=1000)
    assert [t["trade_id"] for t in get(client, path, "ticks")] == newest
    assert len(get(client, "/api/ingestion/ticks/?symbol=BTCUSDT&limit=10000", "ticks")) == 100


def test_ticks_newer_than_the_newest_bar_and_years_apart_are_found(client: FlaskClient, database: Connection) -> None:
    old = datetime(2017, 8, 17, 4, 0, tzinfo=UTC)
    add_ticks(
        database,
        "BTCUSDT",
        [(1, old, "1", "1", "b", None), (2, second(0), "1", "1", "b", None), (3, second(9), "1", "1", "b", None)],
    )
    add_bars(database, "BTCUSDT", [second(0)])
    assert [t["trade_id"] for t in get(client, "/api/ingestion/ticks/?symbol=BTCUSDT", "ticks")] == [3, 2, 1]
    assert [t["trade_id"] for t in get(client, "/api/ingestion/ticks/?symbol=BTCUSDT&limit=2", "ticks")] == [3, 2]
    assert [t["trade_id"] for t in get(client, "/api/ingestion/ticks/?symbol=BTCUSDT&end=2020-01-01T00:00:00Z", "ticks")] == [1]


@pytest.mark.parametrize(
    ("window", "ids"),
    [
        ("start=2026-11-23T07:00:01Z&end=2026-11-23T07:00:03Z", [2, 1]),  # [start, end)
        ("start=2026-11-23T08:00:01%2B01:00&end=2026-11-23T08:00:03+01:00", [2, 1]),  # + arrives as a space
        (f"start={int(AT.timestamp()) * 1000 + 3000}", [4, 3]),
        (f"start={int(AT.timestamp()) * 1_000_000 + 3_000_001}", [4]),
        ("start=2030-01-01T00:00:00Z", []),
    ],
)
def test_ticks_of_a_range(client: FlaskClient, database: Connection, window: str, ids: list[int]) -> None:
    add_ticks(database, "BTCUSDT", [(n, second(n), "1", "1", "b", None) for n in range(5)])
    assert [t["trade_id"] for t in get(client, f"/api/ingestion/ticks/?symbol=BTCUSDT&{window}", "ticks")] == ids


def test_bars_come_newest_first_with_zero_as_zero(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [second(n) for n in range(5)])
    bars = get(client, "/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1s&limit=2", "bars")
    assert [bar["timestamp"] for bar in bars] == ["2026-11-23T07:00:04.000000Z", "2026-11-23T07:00:03.000000Z"]
    assert bars[0] == {
        "symbol": "BTCUSDT", "timeframe": "1s", "timestamp": "2026-11-23T07:00:04.000000Z", "open": 100, "high": 104, "low": 99.5,
        "close": 104, "volume": 0.1, "tick_count": 1, "quote_volume": 10, "vwap": 100, "taker_buy_volume": 0,
        "taker_buy_quote_volume": 0,
        "status": "complete", "revision": 0,
    }  # fmt: skip
    assert len(get(client, "/api/ingestion/bars?symbol=BTCUSDT", "bars")) == 5
    assert get(client, "/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1m", "bars") == []


def test_fill_prev_draws_what_nobody_traded_in(client: FlaskClient, database: Connection) -> None:
    """Bars at 0, 1 and 4; 2 and 3 are flat at the close of 1."""
    add_bars(database, "BTCUSDT", [second(0), second(1), second(4)])
    bars = get(client, "/api/ingestion/bars/?symbol=BTCUSDT&fill=prev&order=asc", "bars")
    assert [(bar["timestamp"][17:19], bar["close"], bar["tick_count"], bar["status"]) for bar in bars] == [
        ("00", 100, 1, "complete"), ("01", 101, 1, "complete"), ("02", 101, 0, "filled"), ("03", 101, 0, "filled"),
        ("04", 102, 1, "complete"),
    ]  # fmt: skip
    assert bars[2]["open"] == bars[2]["low"] == 101
    assert bars[2]["vwap"] is None
    exact = get(client, "/api/ingestion/bars/?symbol=BTCUSDT&fill=prev&order=asc&decimals=string", "bars")
    assert [(bar["close"], bar["vwap"], bar["tick_count"]) for bar in exact[1:3]] == [("101", "100", 1), ("101", None, 0)]
    newest = get(client, "/api/ingestion/bars/?symbol=BTCUSDT&fill=prev&limit=2", "bars")
    assert [bar["timestamp"][17:19] for bar in newest] == ["04", "03"]


def test_spread_is_the_newest_rows_oldest_first(client: FlaskClient, database: Connection) -> None:
    rows: Rows = [{"timestamp": second(n), "spread": float(n), "z_score": 0.0, "hedge_ratio": 123456.5} for n in range(4)]
    add_pair_rows(
        database,
        "BTCUSDT_ETHUSDT",
        [*rows, {"timestamp": second(9), "window_bars": 30}, {"timestamp": second(9), "method": "tls"}],
    )
    found = get(client, "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT&timeframe=1s&limit=2", "analytics")
    assert [row["timestamp"] for row in found] == ["2026-11-23T07:00:02.000000Z", "2026-11-23T07:00:03.000000Z"]
    more = ("return_correlation", "half_life", "innovation_z", "hurst", "variance_ratio", "spread_adf_statistic",
            "spread_adf_pvalue", "hedge_ratios", "leg_prices")  # fmt: skip
    assert found[1].pop("written_at") and found[1] == {
        **dict.fromkeys(more), "window": 60, "method": "ols",
        "timestamp": "2026-11-23T07:00:03.000000Z", "symbol1_price": 43000.5, "symbol2_price": 2200, "hedge_ratio": 123456.5,
        "intercept": None,
        "spread": 3, "z_score": 0, "rolling_mean": None, "rolling_std": None, "correlation": None, "adf_statistic": None,
        "adf_pvalue": None, "is_cointegrated": None, "coint_at": None, "carried": "", "has_gap": False, "revision": 0,
    }  # fmt: skip
    assert len(get(client, "/api/analytics/spread?symbol1=BTCUSDT&symbol2=ETHUSDT&window=30", "analytics")) == 1


def test_what_json_can_not_hold_is_null(client: FlaskClient, database: Connection) -> None:
    add_pair_rows(
        database,
        "BTCUSDT_ETHUSDT",
        [{"timestamp": AT, "z_score": float("inf"), "spread": float("nan"), "is_cointegrated": False}],
    )
    (row,) = get(client, "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT", "analytics")
    assert (row["z_score"], row["spread"], row["is_cointegrated"]) == (None, None, False)


def test_stats_are_the_newest_rows_oldest_first(client: FlaskClient, database: Connection) -> None:
    add_stats(database, "BTCUSDT", [(second(0), 0.0), (second(1), None), (second(2), 0.25)])
    found = get(client, "/api/analytics/stats/?symbol=BTCUSDT&limit=2", "stats")
    assert [row["returns"] for row in found] == [None, 0.25]
    assert set(found[0]) >= {"timestamp", "returns", "volatility", "volume_ma", "price_change_pct", "high_low_range"}
    assert found[0]["volume_ma"] == 0
    assert [row["returns"] for row in get(client, "/api/analytics/stats?symbol=BTCUSDT&order=desc", "stats")] == [0.25, None, 0.0]


def test_totals_come_from_counters_and_not_from_counting(client: FlaskClient, database: Connection) -> None:
    assert client.get("/api/ingestion/stats/").get_json() == {"tick_count": 0, "bar_count": 0, "symbols": []}
    add_source(database, "ETHUSDT")
    add_source(database, "BTCUSDT")
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO writer_positions (worker, stream, position_ms, position_seq, stored) VALUES ('1', 'trades', 1, 0, 40),"
            " ('2', 'trades', 1, 0, 2)"
        )
        cursor.execute(
            "INSERT INTO checkpoints (shard, token, position_ms, position_seq, run_id, watermarks, state, events, bars)"
            " VALUES (0, 1, 1, 0, '', '{}', '', '', 7)"
        )
    expected = {"tick_count": 42, "bar_count": 7, "symbols": ["BTCUSDT", "ETHUSDT"]}
    assert client.get("/api/ingestion/stats").get_json() == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/ingestion/ticks/?symbol=NOSUCH", "ticks"),
        ("/api/ingestion/bars/?symbol=NOSUCH", "bars"),
        ("/api/ingestion/bars/?symbol=NOSUCH&fill=prev", "bars"),
        ("/api/analytics/spread/?symbol1=NOSUCH&symbol2=NOR", "analytics"),
        ("/api/analytics/stats/?symbol=NOSUCH", "stats"),
        ("/api/analytics/alerts/?symbol_pair=NOSUCH", "alerts"),
    ],
)
def test_an_unknown_symbol_is_an_empty_list(client: FlaskClient, path: str, name: str) -> None:
    assert client.get(path).get_json() == {name: [], "count": 0, "complete": True, "next_cursor": None}


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/api/ingestion/ticks/", "symbol", "is required"),
        ("/api/ingestion/ticks/?symbol=B%00TC", "symbol", r"must be text without NUL, was 'B\x00TC'"),
        ("/api/ingestion/ticks/?symbol=BTCUSDT&limit=0", "limit", "from 1 to 10000, was 0"),
        ("/api/ingestion/ticks/?symbol=BTCUSDT&limit=10001", "limit", "was 10001"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&limit=-1", "limit", "was -1"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&limit=many", "limit", "whole number"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&limit=" + "9" * 5000, "limit", "whole number"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&timeframe=7m", "timeframe", "was '7m'"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&order=up", "order", "asc or desc"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&fill=zero", "fill", "must be prev"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&start=yesterday", "start", "ISO 8601"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&start=2026-11-28", "start", "such as 2026-11-28T06:00:00Z, or epoch s, ms or us"),
        ("/api/analytics/backtest/?symbol1=A&symbol2=B&cost_bps=x", "cost_bps", "must be a number from 0 to 1000, was 'x'"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&start=2026-13-01T00:00:00Z", "start", "real moment"),
        ("/api/ingestion/bars/?symbol=BTCUSDT&end=" + "9" * 18, "end", "real moment"),
        ("/api/analytics/spread/?symbol1=BTCUSDT", "symbol2", "is required"),
        ("/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT&window=1", "window", "from 3"),
        ("/api/analytics/stats/?symbol=BTCUSDT&limit=1.5", "limit", "whole number"),
        ("/api/analytics/alerts/?status=ACTIVE!", "status", "must be one of active, triggered"),
    ],
)
def test_bad_queries_are_400_and_name_the_field(storeless: FlaskClient, path: str, field: str, words: str) -> None:
    response = storeless.get(path)
    body = response.get_json()
    assert (response.status_code, body["field"], body["status"]) == (400, field, 400)
    assert body["error"].startswith(field)
    assert words in body["error"]
    assert body["errors"][field]


@pytest.mark.parametrize("per_second", [1, 1000, 1_000_000])
def test_a_range_in_epoch_seconds_milliseconds_or_microseconds_is_the_same(
    client: FlaskClient, database: Connection, per_second: int
) -> None:
    add_bars(database, "BTCUSDT", [second(n) for n in range(10)])
    start, end = (int(second(n).timestamp() * per_second) for n in (4, 6))
    path = f"/api/ingestion/bars/?symbol=BTCUSDT&order=asc&start={start}&end={end}"
    assert [row["timestamp"] for row in get(client, path, "bars")] == [
        row["timestamp"] for row in get(client, "/api/ingestion/bars/?symbol=BTCUSDT&order=asc", "bars")[4:6]
    ]


def test_what_a_route_takes_is_said(storeless: FlaskClient) -> None:
    assert storeless.post("/api/ingestion/bars/").get_json()["error"] == "/api/ingestion/bars/ does not take POST; it takes GET"


def test_the_first_window_reaches_as_far_as_the_bars_say(client: FlaskClient, app: Flask, database: Connection) -> None:
    """Two ticks a second: the newest 5 are in the newest 3 bars, however many there are before."""
    add_bars(database, "BTCUSDT", [second(n) for n in range(1000)], tick_count=2)
    query = {"symbol": "BTCUSDT", "limit": 5, "order": "desc"}
    with database, database.cursor() as cursor:
        assert next(window_starts(cursor, query, "1s")) == second(997)
        assert next(window_starts(cursor, {**query, "end": second(500)}, "1s")) == second(497)
        assert list(window_starts(cursor, {**query, "start": second(998)}, "1s")) == [second(998)]


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("?topics=bars,moon", {}, "topics"),
        ("?topics=bars,ticks", {}, "topics"),  # GEMS_LIVE_TICKS is off
        ("?timeframe=7m", {}, "timeframe"),
        ("?since=soon", {}, "since"),
        ("", {"Last-Event-ID": "1-2-3"}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "9" * 30}, "Last-Event-ID"),
    ],
)
def test_bad_stream_queries_are_400(storeless: FlaskClient, query: str, headers: dict[str, str], field: str) -> None:
    response = storeless.get(f"/api/stream{query}", headers=headers)
    assert (response.status_code, response.get_json()["field"]) == (400, field)


@pytest.mark.parametrize("path", ["/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1m", "/api/ingestion/ticks/?symbol=BTCUSDT"])
def test_rows_of_another_that_do_not_end_hold_up_no_list(client: FlaskClient, database: Connection, path: str) -> None:
    add_ticks(database, "BTCUSDT", [(7, second(1), "1", "1", "b", None)])
    with ROWS_TURN:
        assert client.get(path).status_code == 200
    assert client.get(path).status_code == 200
    assert not ROWS_TURN.locked()


@pytest.mark.parametrize("path", ["/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1m", "/api/ingestion/ticks/?symbol=BTCUSDT"])
def test_pages_that_take_long_hold_up_no_list_and_else_they_take_turns(
    client: FlaskClient, database: Connection, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_ticks(database, "BTCUSDT", [(7, second(1), "1", "1", "b", None)])
    stores: Stores = client.application.extensions["gems.stores"]
    with ExitStack() as slow:
        for _ in range(PAGES_AT_ONCE):
            slow.enter_context(stores.page_session())
        assert client.get(path).status_code == 200
    monkeypatch.setattr(stores, "_pages", Turns(PAGES_AT_ONCE, 60))
    with ThreadPoolExecutor(1) as pool, ExitStack() as slow:
        for _ in range(PAGES_AT_ONCE):
            slow.enter_context(stores.page_session())
        asked = pool.submit(client.get, path)
        until(lambda: stores._pages.waiting == 1, "a list that waits")
        slow.close()
        assert asked.result(60).status_code == 200
    assert stores._pages.waiting == 0
