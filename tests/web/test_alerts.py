"""Alerts: create, list, delete."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.web.rows import add_source

URL = "/api/analytics/alerts/"
PAIR = "BTCUSDT_ETHUSDT"


def create(client: FlaskClient, alert_type: str = "zscore_high", subject: str = PAIR, **condition: Any) -> Any:
    return client.post(URL + "create/", json={"alert_type": alert_type, "symbol_pair": subject, "condition": condition})


def test_an_alert_is_created_listed_and_deleted(client: FlaskClient) -> None:
    made = create(client, threshold=2.0)
    assert made.status_code == 201
    alert = made.get_json()
    expected = {"id": alert["id"], "alert_type": "zscore_high", "symbol_pair": PAIR, "status": "active"}
    assert alert.items() >= expected.items()
    (listed,) = client.get(URL + "?status=active").get_json()["alerts"]
    assert listed.items() >= {**expected, "triggered_at": None, "trigger_value": None}.items()
    assert listed["condition"] == {"threshold": 2.0, "timeframe": "1s"}
    assert listed["created_at"].endswith("Z")
    gone = client.delete(f"{URL}{alert['id']}/delete/")
    assert (gone.status_code, gone.get_json()) == (200, {"status": "deleted"})
    assert client.get(URL).get_json() == {"alerts": [], "count": 0}


def test_an_alert_may_expire(client: FlaskClient) -> None:
    body = {
        "alert_type": "zscore_high",
        "symbol_pair": PAIR,
        "condition": {"threshold": 2},
        "expires_at": "2030-01-01T00:00:00+01:00",
    }
    assert client.post(URL + "create/", json=body).status_code == 201
    assert client.get(URL).get_json()["alerts"][0]["expires_at"] == "2029-12-31T23:00:00.000000Z"


@pytest.mark.parametrize("alert_id", ["999", "9223372036854775808", "1"])
def test_what_is_not_there_or_gone_is_404(client: FlaskClient, alert_id: str) -> None:
    create(client, threshold=1)
    client.delete(f"{URL}1/delete")
    response = client.delete(f"{URL}{alert_id}/delete/")
    assert response.status_code == 404
    assert response.get_json() == {"error": "Alert not found", "status": 404}


def test_the_list_is_newest_first_and_filtered(client: FlaskClient, database: Connection) -> None:
    add_source(database, "DOGEUSDT")
    for alert_type, subject in [("zscore_low", PAIR), ("price_above", "DOGEUSDT"), ("correlation_break", PAIR)]:
        assert create(client, alert_type, subject, threshold=0.5).status_code == 201
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE alerts SET status = 'triggered', trigger_value = 0, triggered_at = now() WHERE id = 1")
    alerts = client.get(URL).get_json()["alerts"]
    assert [alert["id"] for alert in alerts] == [3, 2, 1]
    assert alerts[2]["trigger_value"] == 0
    assert [a["id"] for a in client.get(f"{URL}?symbol_pair={PAIR}").get_json()["alerts"]] == [3, 1]
    assert [a["id"] for a in client.get(f"{URL}?status=triggered").get_json()["alerts"]] == [1]


@pytest.mark.parametrize(
    ("alert_type", "subject"),
    [(t, PAIR) for t in ("zscore_high", "zscore_low", "zscore_abs", "correlation_break", "spread_above", "spread_below")]
    + [(t, "BTCUSDT") for t in ("volume_spike", "price_movement", "price_above", "price_below")],
)
def test_every_type_can_be_created(client: FlaskClient, alert_type: str, subject: str) -> None:
    made = create(client, alert_type, subject, threshold=0.5, timeframe="1m", cooldown_s=60, once=True)
    assert made.status_code == 201
    assert made.get_json()["timeframe"] == "1m"


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"alert_type": "moon"}, "alert_type", "must be one of zscore_high"),
    ({"alert_type": None}, "alert_type", ""),
    ({"symbol_pair": "x\u0000"}, "symbol_pair", "must be a symbol or a pair"),
    ({"condition": {}}, "condition.threshold", "is required"),
    ({"condition": 5}, "condition", "must be an object"),
    ({"condition": {"threshold": "2"}}, "condition.threshold", "finite number, was '2'"),
    ({"condition": {"threshold": True}}, "condition.threshold", "finite number"),
    ({"condition": {"threshold": 10**400}}, "condition.threshold", "finite number"),
    ({"condition": {"threshold": 2, "colour": 1}}, "condition.colour", "is not known"),
    ({"condition": {"threshold": 2, "timeframe": "1h"}}, "condition.timeframe", "one of 1s, 1m, 5m, was '1h'"),
    ({"condition": {"threshold": 2, "timeframe": []}}, "condition.timeframe", "one of"),
    ({"condition": {"threshold": 2, "cooldown_s": -1}}, "condition.cooldown_s", "from 0"),
    ({"condition": {"threshold": 2, "once": 1}}, "condition.once", "true or false"),
    ({"alert_type": "correlation_break", "condition": {"threshold": 1.5}}, "condition.threshold", "from -1 to 1, was 1.5"),
    ({"alert_type": "volume_spike", "condition": {"threshold": 0}}, "condition.threshold", "above 0"),
    ({"alert_type": "zscore_abs", "condition": {"threshold": -1}}, "condition.threshold", "at least 0"),
]


@pytest.mark.parametrize(("change", "field", "words"), BAD)
def test_bad_alerts_are_400_and_name_the_field(storeless: FlaskClient, change: dict[str, Any], field: str, words: str) -> None:
    body = {"alert_type": "zscore_high", "symbol_pair": PAIR, "condition": {"threshold": 2.0}, **change}
    response = storeless.post(URL + "create/", json=body)
    assert (response.status_code, response.get_json()["field"]) == (400, field)
    assert words in response.get_json()["error"]


SUBJECTS: list[tuple[dict[str, Any], str, str]] = [
    ({"symbol_pair": "NOSUCH_PAIR"}, "symbol_pair", "is not a known pair"),
    ({"symbol_pair": "ETHUSDT_SOLUSDT"}, "symbol_pair", "is not followed"),
    ({"symbol_pair": "BTCUSDT"}, "symbol_pair", "about a pair"),
    ({"alert_type": "price_above"}, "symbol_pair", "about one symbol"),
]


def test_an_alert_that_could_never_fire_is_refused(client: FlaskClient) -> None:
    for change, field, words in SUBJECTS:
        body = {"alert_type": "zscore_high", "symbol_pair": PAIR, "condition": {"threshold": 2.0}, **change}
        response = client.post(URL + "create/", json=body)
        assert (response.status_code, response.get_json()["field"]) == (400, field)
        assert words in response.get_json()["error"]


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"alert_type": 1e999}', "[" * 100_000])
def test_bad_bodies_are_400(storeless: FlaskClient, text: str) -> None:
    response = storeless.post(URL + "create/", data=text, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error"]
