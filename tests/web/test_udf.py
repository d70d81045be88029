"""TradingView's data feed gives our bars."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.trades import to_us
from tests.web.rows import AT, second
from tests.web.test_binance import add_candles

AT_S = to_us(AT) // 1_000_000


def ask(client: FlaskClient, path: str) -> Any:
    response = client.get(f"/udf/{path}")
    assert response.status_code == 200, response.text
    return response.get_json()


@pytest.fixture
def drawn(client: FlaskClient, database: Connection) -> FlaskClient:
    """Bars at seconds 0, 1, 3 and 9."""
    add_candles(database, "1s", {second(n): ("10.25", "12", "9", str(10 + n), "0.5", 1) for n in (0, 1, 3, 9)})
    return client


def test_history_holds_the_bars_of_a_range_whose_end_is_not_in_it(drawn: FlaskClient) -> None:
    told = ask(drawn, f"history?symbol=BTCUSDT&resolution=1S&from={AT_S + 1}&to={AT_S + 9}")
    assert told == {
        "s": "ok", "t": [AT_S + 1, AT_S + 3], "o": [10.25, 10.25], "h": [12.0, 12.0], "l": [9.0, 9.0], "c": [11.0, 13.0],
        "v": [0.5, 0.5],
    }  # fmt: skip


def test_countback_asks_for_the_newest_before_the_end(drawn: FlaskClient) -> None:
    told = ask(drawn, f"history?symbol=BTCUSDT&resolution=1S&from=0&to={AT_S + 4}&countback=3")
    assert told["t"] == [AT_S + 1, AT_S + 3]
    minute = ask(drawn, f"history?symbol=GEMS:BTCUSDT&resolution=1&from=0&to={AT_S + 60}&countback=5")
    assert (minute["t"], minute["v"], minute["c"]) == ([AT_S], [2.0], [19.0])


def test_no_bars_say_when_the_last_was(drawn: FlaskClient) -> None:
    told = ask(drawn, f"history?symbol=BTCUSDT&resolution=1S&from={AT_S + 5}&to={AT_S + 7}")
    assert told == {"s": "no_data", "nextTime": AT_S + 3}
    assert ask(drawn, f"history?symbol=BTCUSDT&resolution=1S&from=0&to={AT_S - 100}") == {"s": "no_data"}


def test_a_symbol_is_told_with_its_scale(drawn: FlaskClient) -> None:
    told = ask(drawn, "symbols?symbol=BTCUSDT")
    assert (told["name"], told["pricescale"], told["seconds_multipliers"]) == ("BTCUSDT", 1, ["1"])
    assert told["supported_resolutions"] == ask(drawn, "config")["supported_resolutions"]
    assert [row["symbol"] for row in ask(drawn, "search?query=btc&limit=5")] == ["BTCUSDT"]
    assert ask(drawn, "search?query=doge") == []
    assert drawn.get("/udf/time").text.isdigit()


@pytest.mark.parametrize(
    "path", ["symbols?symbol=NOSUCH", "history?symbol=NOSUCH&resolution=1", "history?symbol=BTCUSDT&resolution=7"]
)
def test_what_is_not_known_is_an_error_in_the_feeds_own_shape(drawn: FlaskClient, path: str) -> None:
    assert ask(drawn, path)["s"] == "error"


@pytest.mark.parametrize("path", ["from=-1", "to=NaN", "countback=1e9", "to=99999999999999"])
def test_a_number_that_is_none_is_named(drawn: FlaskClient, path: str) -> None:
    response = drawn.get(f"/udf/history?symbol=BTCUSDT&resolution=1&{path}")
    assert (response.status_code, response.get_json()["field"]) == (400, path.partition("=")[0])
