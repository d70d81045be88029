"""Statistics, correlations, scans and backtests as the API tells them."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from common.partitions import ensure_month_leaves
from common.tasks import claim_task
from common.trades import to_us
from tests.web.rows import add_pair_rows, add_scan, add_source, add_stats, second

STATS = "/api/analytics/stats/"


def get(client: FlaskClient, path: str, **query: Any) -> Any:
    response = client.get(path, query_string=query)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_constant=pytest.fail)


def add_closes(database: Connection, symbol: str, closes: dict[int, float], watermark: float | None = None) -> None:
    """Store 1s bars by second, and say up to where the symbol is closed."""
    add_source(database, symbol)
    ensure_month_leaves(database, {second(at).date() for at in closes})
    rows = [(symbol, "1s", second(at), c, c, c, c, 1, 1, c, c, 0, 1, 1, "complete") for at, c in closes.items()]
    mark = {symbol: to_us(second(watermark if watermark is not None else max(closes) + 1))}
    with database, database.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO processed_bars (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume,"
            " vwap, taker_buy_volume, first_trade_id, last_trade_id, status) VALUES %s",
            rows,
        )
        cursor.execute(
            "INSERT INTO checkpoints AS c (shard, token, position_ms, position_seq, run_id, watermarks, state, events)"
            " VALUES (0, 1, 0, 0, '', %s, '', '') ON CONFLICT (shard) DO UPDATE SET watermarks = c.watermarks || %s",
            (Json(mark), Json(mark)),
        )


#  Statistics --------------------------------------------------------------------------------------------------------


def test_volatility_can_be_annualised(client: FlaskClient, database: Connection) -> None:
    add_stats(database, "BTCUSDT", [(second(0), 0.5)])
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE price_stats SET volatility = 0.001, realised_volatility = 0.004, timeframe = '1m'")
    plain, yearly = (
        get(client, "/api/analytics/stats/", symbol="BTCUSDT", timeframe="1m", annualised=flag)["stats"][0] for flag in (0, 1)
    )
    assert (plain["volatility"], plain["realised_volatility"], plain["returns"]) == (0.001, 0.004, 0.5)
    assert yearly["volatility"] == pytest.approx(0.001 * math.sqrt(365 * 24 * 60), rel=1e-15)
    assert yearly["realised_volatility"] == pytest.approx(0.004 * math.sqrt(365 * 24 * 60 / 20), rel=1e-15)
    assert {name: value for name, value in yearly.items() if "volatility" not in name} == {
        name: value for name, value in plain.items() if "volatility" not in name
    }


def test_as_of_tells_what_was_known_then(client: FlaskClient, database: Connection) -> None:
    add_stats(database, "BTCUSDT", [(second(0), 0.1), (second(1), 0.2), (second(2), 0.0)])
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE price_stats SET written_at = timestamp + interval '1 second'")
        cursor.execute(
            "INSERT INTO stats_revisions SELECT p.*, %s FROM price_stats p WHERE timestamp = %s", (second(60), second(1))
        )
        cursor.execute(
            "UPDATE price_stats SET returns = 0.3, revision = 1, written_at = %s WHERE timestamp = %s", (second(60), second(1))
        )

    def told(**query: Any) -> list[tuple[float, int]]:
        return [(row["returns"], row["revision"]) for row in get(client, STATS, symbol="BTCUSDT", **query)["stats"]]

    assert told() == [(0.1, 0), (0.3, 1), (0.0, 0)]
    assert told(as_of=second(59).isoformat()) == [(0.1, 0), (0.2, 0), (0.0, 0)]
    assert told(as_of=second(60).isoformat()) == told()
    assert told(as_of=second(1.5).isoformat()) == [(0.1, 0)]
    assert told(as_of=second(59).isoformat(), start=second(1).isoformat(), end=second(2).isoformat()) == [(0.2, 0)]


def test_the_window_is_the_settings_unless_asked_for(client: FlaskClient, database: Connection) -> None:
    add_stats(database, "BTCUSDT", [(second(0), 0.1)])
    add_stats(database, "BTCUSDT", [(second(0), 0.1), (second(1), 0.1)], window=50)
    assert get(client, STATS, symbol="BTCUSDT")["stats"][0]["window"] == 20 and get(client, STATS, symbol="BTCUSDT")["count"] == 1
    assert get(client, STATS, symbol="BTCUSDT", window=50)["count"] == 2
    made = client.post("/api/analytics/compute-stats/", json={"symbol": "BTCUSDT", "window": 7, "start": "2026-11-23T07:00:00Z"})
    assert made.status_code == 202
    task = claim_task(database, ["stats"])
    assert task and task.params == {"symbol": "BTCUSDT", "timeframe": "1s", "window": 7, "start_us": to_us(second(0))}


#  Correlations ------------------------------------------------------------------------------------------------------


def test_correlations_are_of_the_newest_common_rows(client: FlaskClient, database: Connection) -> None:
    closes = {
        "BTCUSDT": {n: 100.0 + [0, 1, 3, 2, 5, 4, 8, 7][n] for n in range(8)},
        "ETHUSDT": {n: 10.0 - [0, 2, 3, 1, 4, 9, 8, 7][n] / 10 for n in range(8) if n != 5},
        "SOLUSDT": dict.fromkeys(range(8), 5.0),
    }
    for symbol, bars in closes.items():
        add_closes(database, symbol, bars)
    found = get(client, "/api/analytics/correlation/", window=6)
    assert found["symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert (found["since"], found["as_of"]) == ("2026-11-23T07:00:02.000000Z", "2026-11-23T07:00:07.000000Z")
    btc = np.array([closes["BTCUSDT"][n] for n in range(2, 8)])
    eth = np.array([closes["ETHUSDT"].get(n, closes["ETHUSDT"].get(n - 1, 0)) for n in range(2, 8)])
    assert found["prices"][0][1] == pytest.approx(np.corrcoef(btc, eth)[0, 1], rel=1e-12) == found["prices"][1][0]
    returns = np.corrcoef(np.diff(btc) / btc[:-1], np.diff(eth) / eth[:-1])[0, 1]
    assert found["returns"][0][1] == pytest.approx(returns, rel=1e-12)
    assert found["prices"][2] == [None, None, None] == found["returns"][2], "flat"
    assert (found["prices"][0][0], found["carried"]) == (1.0, {"BTCUSDT": 0, "ETHUSDT": 1, "SOLUSDT": 0})


def test_no_row_that_may_still_change_is_looked_at(client: FlaskClient, database: Connection) -> None:
    add_closes(database, "BTCUSDT", {n: 100.0 + n % 3 for n in range(8)})
    add_closes(database, "ETHUSDT", {n: 10.0 + n % 2 for n in range(6)}, watermark=6.5)
    found = get(client, "/api/analytics/correlation/", window=5, symbols="BTCUSDT,ETHUSDT")
    assert found["as_of"] == "2026-11-23T07:00:05.000000Z"
    short = get(client, "/api/analytics/correlation/", window=7, symbols="BTCUSDT,ETHUSDT")
    assert (short["as_of"], short["prices"]) == (None, [[None] * 2] * 2)
    nothing = get(client, "/api/analytics/correlation/", symbols="X,Y")
    assert (nothing["as_of"], nothing["carried"]) == (None, {"X": 0, "Y": 0})


def test_a_symbol_that_stopped_long_ago_has_no_correlation_and_holds_nobody_up(client: FlaskClient, database: Connection) -> None:
    for symbol, first in (("BTCUSDT", 1000), ("ETHUSDT", 1000), ("SOLUSDT", 0)):
        add_closes(database, symbol, {first + n: 100.0 + (n * 7) % 5 for n in range(8)})
    found = get(client, "/api/analytics/correlation/", window=8)
    assert found["as_of"] == "2026-11-23T07:16:47.000000Z"
    assert found["prices"][0][:2] == [1.0, 1.0] and found["prices"][2] == [None] * 3


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"symbols": "BTCUSDT"}, "symbols", "2 to 200"),
        ({"symbols": "BTCUSDT,BTCUSDT"}, "symbols", "different"),
        ({"window": 2}, "window", "from 3"),
        ({"window": 10_000, "symbols": ",".join(f"S{n}" for n in range(100))}, "window", "at most 2,000 for 100 symbols"),
        ({"timeframe": "2s"}, "timeframe", "must be one of"),
    ],
)
def test_correlations_that_can_not_be_are_400(client: FlaskClient, query: dict[str, Any], field: str, says: str) -> None:
    response = client.get("/api/analytics/correlation/", query_string=query)
    assert response.status_code == 400
    assert response.get_json()["field"] == field and says in response.get_json()["error"]


#  Scans -------------------------------------------------------------------------------------------------------------


def test_the_newest_finished_scan_is_told_best_first(client: FlaskClient, database: Connection) -> None:
    nothing = get(client, "/api/analytics/scan/")
    assert (nothing["scan_id"], nothing["pairs"], nothing["count"]) == (None, [], 0)
    add_scan(database, second(10), [("A_B", 0.01, 1, 1, 1)])
    rows = [("A_B", 0.5, 3.0, -2.5, 0.1), ("C_A", 0.0, None, 0.0, -0.9), ("C_B", None, 9.0, None, None)]
    scan_id = add_scan(database, second(20), rows)
    add_scan(database, None, [("A_B", 0.0, 1, 1, 1)])
    told = get(client, "/api/analytics/scan/")
    assert (told["scan_id"], told["computed_on"], told["finished_at"]) == (
        scan_id, "2026-11-23T07:00:05.000000Z", "2026-11-23T07:00:20.000000Z",
    )  # fmt: skip
    assert (told["pairs_scanned"], told["count"], told["timeframe"], told["window"]) == (3, 3, "1s", 60)

    def ranked(sort: str, limit: int = 3) -> list[str]:
        return [row["symbol_pair"] for row in get(client, "/api/analytics/scan", sort=sort, limit=limit)["pairs"]]

    assert ranked("coint_pvalue") == ["C_A", "A_B", "C_B"]
    assert ranked("half_life") == ["A_B", "C_B", "C_A"]
    assert ranked("z_score") == ["A_B", "C_A", "C_B"]
    assert ranked("correlation", 1) == ["C_A"]
    assert told["pairs"][0]["coint_pvalue"] == 0 and told["pairs"][0]["half_life"] is None
    assert get(client, "/api/analytics/scan/", window=30)["scan_id"] is None


def test_a_scan_is_a_task(client: FlaskClient, database: Connection) -> None:
    for symbol in ("A", "B", "C"):
        add_source(database, symbol)
    made = client.post("/api/analytics/scan/", json={"timeframe": "1m", "window": 30, "symbols": ["A", "b", "C"]})
    assert made.status_code == 202 and made.get_json()["pairs"] == 3
    task = claim_task(database, ["scan"])
    assert task and task.params == {"timeframe": "1m", "window": 30, "symbols": ["A", "B", "C"]}
    assert client.post("/api/analytics/scan/", json={}).get_json()["window"] == 60
    for body, field in (({"symbols": ["A", "NOSUCH"]}, "symbols"), ({"window": 5}, "window"), ({"symbols": ["A"]}, "symbols")):
        refused = client.post("/api/analytics/scan/", json=body)
        assert (refused.status_code, refused.get_json()["field"]) == (400, field)
    assert client.get("/api/analytics/scan/?sort=luck").status_code == 400


#  Backtests ---------------------------------------------------------------------------------------------------------


def add_walk(database: Connection) -> None:
    """The hand-computed example of tests/common/test_backtest.py."""
    rows = [(100, 40, None, 2), (104, 40, 2.5, 2), (105, 40, 2.2, 9), (102, 41, 0.3, 2), (101, 41, 0.0, 2), (101, 41, 0.1, 2)]
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [
        {"timestamp": second(n), "symbol1_price": y, "symbol2_price": x, "z_score": z, "hedge_ratio": b}
        for n, (y, x, z, b) in enumerate(rows)
    ])  # fmt: skip


PAIR = {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "cost_bps": 10, "notional": 1850}


def test_a_backtest_by_query_and_by_body(client: FlaskClient, database: Connection) -> None:
    add_walk(database)
    found = get(client, "/api/analytics/backtest/", **PAIR)
    assert found["profit"] == pytest.approx(56.32) and found["total_return"] == pytest.approx(56.32 / 1850)
    (trade,) = found["trades"]
    assert (trade["side"], trade["signal_at"], trade["entry_at"], trade["exit_at"], trade["reason"]) == (
        "short", "2026-11-23T07:00:01.000000Z", "2026-11-23T07:00:02.000000Z", "2026-11-23T07:00:04.000000Z", "exit",
    )  # fmt: skip
    assert (trade["hedge_ratio"], trade["y_units"], trade["x_units"]) == (2, -10, 20)
    assert found["equity"][-1] == {"timestamp": "2026-11-23T07:00:05.000000Z", "equity": pytest.approx(1906.32)}
    assert (found["rows"], found["method"], found["window"], found["hit_rate"]) == (6, "ols", 60, 1)
    assert client.post("/api/analytics/backtest/", json=PAIR).get_json() == found
    part = get(client, "/api/analytics/backtest/", **PAIR, end=second(4).isoformat())
    assert (part["rows"], part["trades"][0]["reason"]) == (4, "end")
    assert get(client, "/api/analytics/backtest/", **PAIR, limit=3)["rows"] == 3


def test_a_backtest_sees_rows_as_they_were_first_written(client: FlaskClient, database: Connection) -> None:
    add_walk(database)
    with database, database.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'spread_analytics'")
        names = ", ".join(row[0] for row in cursor.fetchall())
        cursor.execute(
            f"INSERT INTO spread_revisions ({names}) SELECT {names} FROM spread_analytics WHERE timestamp = %s", (second(1),)  # noqa: S608
        )
        cursor.execute("UPDATE spread_analytics SET z_score = 0, revision = 1 WHERE timestamp = %s", (second(1),))
    first, last = (get(client, "/api/analytics/backtest/", **PAIR, revisions=which) for which in ("first", "last"))
    assert first["trades"][0]["signal_at"] == "2026-11-23T07:00:01.000000Z" and first["rows"] == last["rows"] == 6
    assert last["trades"][0]["signal_at"] == "2026-11-23T07:00:02.000000Z"


def test_a_backtest_of_nothing_says_nothing(client: FlaskClient) -> None:
    found = get(client, "/api/analytics/backtest/", symbol1="X", symbol2="Y")
    assert (found["rows"], found["trades"], found["equity"], found["sharpe"], found["first_at"]) == (0, [], [], None, None)


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"exit": 3}, "exit", "below entry (2), was 3"),
        ({"stop": 1}, "stop", "above entry"),
        ({"entry": "x"}, "entry", "must be a number"),
        ({"entry": "nan"}, "entry", "must be a number"),
        ({"cost_bps": -1}, "cost_bps", "must be from 0"),
        ({"notional": 0}, "notional", "must be from"),
        ({"limit": 100_001}, "limit", "must be from 2 to 100000"),
        ({"revisions": "best"}, "revisions", "first or last"),
        ({"symbol2": "BTCUSDT"}, "symbol2", "differ"),
    ],
)
def test_backtests_that_make_no_sense_are_400(client: FlaskClient, query: dict[str, Any], field: str, says: str) -> None:
    response = client.get("/api/analytics/backtest/", query_string={**PAIR, **query})
    assert response.status_code == 400, response.text
    assert response.get_json()["field"] == field and says in response.get_json()["error"]


def test_a_long_backtest_is_bounded(client: FlaskClient, database: Connection) -> None:
    ensure_month_leaves(database, {second(0).date(), second(86_400).date()})
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO spread_analytics (symbol_pair, timeframe, window_bars, timestamp, symbol1_price, symbol2_price,"
            " hedge_ratio, z_score) SELECT 'A_B', '1s', 60, %s + n * interval '1 second', 100 + sin(n / 5.0), 50 + cos(n / 7.0),"
            " 1.5, 3 * sin(n / 3.0) FROM generate_series(1, 20000) AS n", (datetime(2026, 11, 23, tzinfo=UTC),),
        )  # fmt: skip
    found = get(client, "/api/analytics/backtest/", symbol1="A", symbol2="B", limit=20_000)
    assert (found["rows"], len(found["equity"]), len(found["trades"])) == (20_000, 1000, 1000)
    assert found["trade_count"] > 1500 and found["equity"][-1]["equity"] == pytest.approx(10_000 + found["profit"])
