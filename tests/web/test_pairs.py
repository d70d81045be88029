"""Pair series over the API: what is live, what was known when, and clear answers where something does not fit."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.tasks import claim_task
from tests.web.rows import AT, add_bars, add_pair_rows, second

PAIRS = "/api/analytics/pairs/"
SPREAD = "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT"


def run(database: Connection, statement: str, *params: Any) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(statement, params or None)


def test_a_series_is_added_listed_and_removed(client: FlaskClient, database: Connection) -> None:
    body = {"symbol1": "btcusdt", "symbol2": "SOLUSDT", "timeframe": "1m", "window": 30, "method": "kalman+log"}
    made = client.post(PAIRS, json=body)
    told = made.get_json()
    assert made.status_code == 201 and told.pop("added_at")
    task = claim_task(database, ["spread"])
    assert task and told.pop("task_id") == task.task_id and task.params == {
        "symbols": ["BTCUSDT", "SOLUSDT"], "timeframe": "1m", "window": 30, "method": "kalman+log",
    }  # fmt: skip
    assert told == {
        "symbol_pair": "BTCUSDT_SOLUSDT", "symbols": ["BTCUSDT", "SOLUSDT"], "timeframe": "1m", "window": 30,
        "method": "kalman+log", "origin": "request", "live": True, "removed_at": None, "last_row_at": None,
    }  # fmt: skip
    again = client.post(PAIRS, json={**body, "method": "kalman+log"})
    assert again.status_code == 200 and "task_id" not in again.get_json() and claim_task(database, ["spread"]) is None
    assert [row["method"] for row in client.get(PAIRS).get_json()["pairs"]] == ["kalman+log"]
    assert client.get(PAIRS + "?method=kalman+log&timeframe=1m").get_json()["count"] == 1, "a plus may come as a space"
    assert client.get(PAIRS + "?timeframe=5m").get_json() == {"pairs": [], "count": 0, "complete": True, "next_cursor": None}
    gone = client.delete(PAIRS + "BTCUSDT_SOLUSDT/?timeframe=1m").get_json()
    names = {"symbol_pair": "BTCUSDT_SOLUSDT", "timeframe": "1m", "window": 30, "method": "kalman+log"}
    assert gone == {"status": "removed", "removed": [names], "count": 1}
    assert client.get(PAIRS).get_json()["count"] == 0
    (row,) = client.get(PAIRS + "?all=true").get_json()["pairs"]
    assert row["live"] is False and row["removed_at"]
    assert client.post(PAIRS, json=body).status_code == 201


def test_the_list_has_the_newest_row_of_each_where_asked_for(client: FlaskClient, database: Connection) -> None:
    for window in (30, 60):
        client.post(PAIRS, json={"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "window": window})
    client.post(PAIRS, json={"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"]})
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [
        {"timestamp": AT, "spread": 1.0}, {"timestamp": second(1), "spread": 2.0, "z_score": float("nan")},
        {"timestamp": second(2), "timeframe": "1m", "spread": 3.0},
    ])  # fmt: skip
    add_pair_rows(database, "BTCUSDT_ETHUSDT_SOLUSDT", [{"timestamp": AT, "hedge_ratios": [1.5, None], "leg_prices": [3, 2, 1]}])
    rows = {
        (row["symbol_pair"], row["window"]): row["newest"]
        for row in client.get(PAIRS + "?newest=true&timeframe=1s").get_json()["pairs"]
    }
    assert rows["BTCUSDT_ETHUSDT", 30] is None, "it has no rows yet"
    assert [rows["BTCUSDT_ETHUSDT", 60]] == client.get(SPREAD + "&limit=1").get_json()["analytics"]
    assert rows["BTCUSDT_ETHUSDT", 60]["spread"] == 2 and rows["BTCUSDT_ETHUSDT", 60]["z_score"] is None
    assert rows["BTCUSDT_ETHUSDT_SOLUSDT", 60]["leg_prices"] == [3, 2, 1]
    exact = client.get(PAIRS + "?newest=true&window=60&decimals=string").get_json()["pairs"]
    assert [row["newest"]["symbol1_price"] for row in exact] == ["43000.5", "43000.5"]
    assert all("newest" not in row for row in client.get(PAIRS).get_json()["pairs"])


def test_a_basket_is_a_series_too(client: FlaskClient) -> None:
    made = client.post(PAIRS, json={"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "method": "johansen"}).get_json()
    assert (made["symbol_pair"], made["method"], made["window"]) == ("BTCUSDT_ETHUSDT_SOLUSDT", "johansen", 60)


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"symbol1": "BTCUSDT"}, "symbol2", "is required"),
        ({"symbol1": "BTCUSDT", "symbol2": "BTCUSDT"}, "symbol2", "must differ"),
        ({"symbol1": "BTCUSDT", "symbol2": "NOSUCH"}, "symbol2", "known symbols"),
        ({"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "timeframe": "4h"}, "timeframe", "built (1s, 1m, 5m), was '4h'"),
        ({"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "window": 2}, "window", "from 3"),
        ({"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "method": "magic"}, "method", "tls, kalman, huber, was 'magic'"),
        ({"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "method": "ols+lag"}, "method", "unknown option 'lag'"),
        ({"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "method": "johansen"}, "method", "must begin with"),
        ({"symbols": ["BTCUSDT"]}, "symbols", "2 to 8"),
        ({"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "method": "tls"}, "method", "for a basket of 3 legs"),
        ({"symbols": ["BTCUSDT", "ETHUSDT", "SOLUSDT"], "method": "johansen", "window": 10}, "window", "at least 12"),
        ({"symbols": ["BTCUSDT", "ETHUSDT", "BTCUSDT"]}, "symbols", "different"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_400_with_its_field(client: FlaskClient, body: dict[str, Any], field: str, words: str) -> None:
    response = client.post(PAIRS, json=body)
    told = response.get_json()
    assert (response.status_code, told["field"]) == (400, field) and words in told["error"], told


def test_removing_what_is_not_live_is_404(client: FlaskClient) -> None:
    response = client.delete(PAIRS + "BTCUSDT_ETHUSDT/")
    assert response.status_code == 404 and response.get_json()["error"] == "No such pair is live"
    assert client.delete(PAIRS + "BTCUSDT_ETHUSDT/?window=x").status_code == 400


def test_window_and_method_choose_the_rows(client: FlaskClient, database: Connection) -> None:
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [
        {"timestamp": AT, "spread": 1.0}, {"timestamp": AT, "spread": 2.0, "method": "kalman+log", "innovation_z": 0.0},
        {"timestamp": AT, "spread": 3.0, "window_bars": 30, "half_life": 4.5},
    ])  # fmt: skip
    add_pair_rows(database, "BTCUSDT_ETHUSDT_SOLUSDT", [{"timestamp": AT, "hedge_ratios": [1.5, None], "leg_prices": [3, 2, 1]}])

    def only(query: str) -> dict[str, Any]:
        (row,) = client.get(query).get_json()["analytics"]
        return row

    assert only(SPREAD)["spread"] == 1
    kalman = only(SPREAD + "&method=kalman%2Blog")
    assert (kalman["spread"], kalman["innovation_z"], kalman["method"]) == (2, 0, "kalman+log")
    assert only(SPREAD + "&window=30")["half_life"] == 4.5
    basket = only("/api/analytics/spread/?symbols=btcusdt,ETHUSDT,SOLUSDT")
    assert (basket["hedge_ratios"], basket["leg_prices"]) == ([1.5, None], [3, 2, 1])
    assert client.get(SPREAD + "&method=foo").get_json()["field"] == "method"


def test_as_of_gives_what_was_known_then(client: FlaskClient, database: Connection) -> None:
    hour = timedelta(hours=1)
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [
        {"timestamp": AT, "spread": 2.0, "revision": 1, "written_at": AT + 2 * hour, "adf_pvalue": 0.5, "coint_at": AT,
         "coint_written_at": AT + 3 * hour},
        {"timestamp": second(1), "spread": 5.0, "written_at": AT + hour},
    ])  # fmt: skip
    run(
        database,
        "INSERT INTO spread_revisions (symbol_pair, timeframe, window_bars, method, timestamp, symbol1_price, symbol2_price,"
        " spread, carried, has_gap, revision, written_at, replaced_at)"
        " VALUES ('BTCUSDT_ETHUSDT', '1s', 60, 'ols', %s, 1, 1, 1, '', false, 0, %s, %s)",
        AT, second(2), AT + 2 * hour,
    )  # fmt: skip

    def known(minutes: int) -> list[tuple[Any, ...]]:
        moment = (AT + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
        rows = client.get(f"{SPREAD}&as_of={moment}").get_json()["analytics"]
        return [(row["spread"], row["revision"], row["adf_pvalue"]) for row in rows]

    assert known(-1) == [] and known(1) == [(1, 0, None)]
    assert known(61) == [(1, 0, None), (5, 0, None)] == known(119)
    assert known(121) == [(2, 1, None), (5, 0, None)]
    assert known(181) == [(2, 1, 0.5), (5, 0, None)]
    assert [known(minutes) for minutes in (60, 120, 180)] == [known(minutes + 1) for minutes in (60, 120, 180)]
    newest = client.get(f"{SPREAD}&as_of={(AT + 1.5 * hour).isoformat().replace('+00:00', 'Z')}&limit=1&order=desc").get_json()
    assert [row["spread"] for row in newest["analytics"]] == [5]


def test_bars_as_of_are_those_that_were_known(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [AT])
    run(database, "UPDATE processed_bars SET written_at = %s, revision = 1, close = 99.75", second(60))
    columns = (
        "symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap, taker_buy_volume,"
        " first_trade_id, last_trade_id, status"
    )
    run(
        database,
        f"INSERT INTO bar_revisions ({columns}, revision, written_at, replaced_at)"  # noqa: S608
        f" SELECT {columns}, 0, %s, %s FROM processed_bars",
        second(2), second(60),
    )  # fmt: skip
    run(database, "UPDATE bar_revisions SET close = 100")

    def known(moment: str) -> list[tuple[Any, ...]]:
        bars = client.get(f"/api/ingestion/bars/?symbol=BTCUSDT&as_of={moment}").get_json()["bars"]
        return [(bar["close"], bar["revision"]) for bar in bars]

    assert known("2026-11-23T07:00:01Z") == [] and known("2026-11-23T07:00:59Z") == [(100, 0)]
    assert known("2026-11-23T07:01:00Z") == [(99.75, 1)]
    refused = client.get("/api/ingestion/bars/?symbol=BTCUSDT&fill=prev&as_of=2026-11-23T07:01:00Z")
    assert refused.status_code == 400 and refused.get_json()["field"] == "fill"
