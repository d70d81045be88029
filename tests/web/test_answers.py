"""How answers travel: exact decimals, packed, and not at all where the client has them."""

import gzip
from decimal import Decimal

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.web.rows import add_bars, add_pair_rows, add_ticks, second

BARS = "/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1s"
RANGE = "&start=2026-11-23T07:00:00Z&end=2026-11-23T07:01:00Z"
PACKED = {"Accept-Encoding": "gzip"}


def test_decimals_come_exact_as_text_where_asked_for(client: FlaskClient, database: Connection) -> None:
    price = "12345678901234567890.12345678901234567"
    add_ticks(database, "BTCUSDT", [(1, second(0), price, "0.10", "b", None)])
    add_bars(database, "BTCUSDT", [second(0)])
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": second(0), "symbol1_price": price, "spread": 0.5}])
    (tick,) = client.get("/api/ingestion/ticks/?symbol=BTCUSDT&decimals=string").get_json()["ticks"]
    assert (tick["price"], tick["size"], tick["trade_id"]) == (price, "0.10", 1)
    (bar,) = client.get(f"{BARS}&decimals=string").get_json()["bars"]
    assert (bar["low"], bar["volume"], bar["tick_count"], bar["revision"]) == ("99.5", "0.10", 1, 0)
    assert all(isinstance(bar[name], str) for name in ("open", "quote_volume", "vwap", "taker_buy_quote_volume"))
    (filled,) = client.get(f"{BARS}&decimals=string&fill=prev").get_json()["bars"]
    assert filled == bar
    path = "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT"
    (row,) = client.get(f"{path}&decimals=string").get_json()["analytics"]
    assert (row["symbol1_price"], row["spread"]) == (price, 0.5)
    assert Decimal(client.get(f"{path}&decimals=number").get_json()["analytics"][0]["symbol2_price"]) == 2200


def test_decimals_are_number_or_string(storeless: FlaskClient) -> None:
    answer = storeless.get(f"{BARS}&decimals=float")
    assert (answer.status_code, answer.get_json()["field"]) == (400, "decimals")


def test_long_answers_are_packed_for_who_takes_it(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [second(n) for n in range(30)])
    plain, packed = client.get(BARS), client.get(BARS, headers=PACKED)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 4
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in client.get(f"{BARS}&limit=1", headers=PACKED).headers


def test_live_events_are_never_packed(client: FlaskClient) -> None:
    with client.get("/api/stream", headers=PACKED, buffered=False) as answer:
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("headers", [{}, PACKED])
def test_a_range_that_is_over_is_sent_once(client: FlaskClient, database: Connection, headers: dict[str, str]) -> None:
    add_bars(database, "BTCUSDT", [second(n) for n in range(30)])
    first = client.get(BARS + RANGE, headers=headers)
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["ETag"].startswith('W/"')
    again = client.get(BARS + RANGE, headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE processed_bars SET revision = 1, close = 99.6 WHERE timestamp = %s", (second(3),))
    revised = client.get(BARS + RANGE, headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert revised.status_code == 200
    assert revised.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("window", ["", "&start=2026-11-23T07:00:00Z", "&end=2026-11-23T07:00:00Z",
                                    "&start=2026-11-23T07:00:00Z&end=2226-11-23T07:00:00Z"])  # fmt: skip
def test_a_range_that_goes_on_is_never_kept(client: FlaskClient, window: str) -> None:
    answer = client.get(BARS + window)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
