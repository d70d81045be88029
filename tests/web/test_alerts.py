"""Alerts: create, list, edit, acknowledge, pause, silence, delete; and their history."""

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from common.alertkinds import KINDS
from common.streams import LIVE
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
    assert client.get(URL).get_json() == {"alerts": [], "count": 0, "complete": True, "next_cursor": None}


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


OPTIONS = {
    "threshold": 0.5, "timeframe": "1m", "cooldown_s": 60, "once": True, "repeat_s": 5, "for_bars": 2, "for_s": 1.5, "clear": 0.5,
    "window": 60, "method": "ols",
}  # fmt: skip


@pytest.mark.parametrize("alert_type", KINDS)
def test_every_type_can_be_created_with_all_its_options(client: FlaskClient, alert_type: str) -> None:
    kind = KINDS[alert_type]
    condition = {name: OPTIONS[name] for name in kind.options}
    made = create(client, alert_type, PAIR if kind.of_pair else "BTCUSDT", **condition)
    assert made.status_code == 201, made.text
    assert (made.get_json()["timeframe"], made.get_json()["condition"]) == ("1m", condition)


@pytest.mark.parametrize(("alert_type", "expected"), [("gap", {"timeframe": "1s"}), ("cointegration_lost", {"timeframe": "1s"})])
def test_some_types_need_no_threshold(client: FlaskClient, alert_type: str, expected: dict[str, Any]) -> None:
    assert create(client, alert_type, PAIR if KINDS[alert_type].of_pair else "BTCUSDT").get_json()["condition"] == expected


def test_severity_and_note_are_kept_and_filtered(client: FlaskClient) -> None:
    body = {"alert_type": "zscore_high", "symbol_pair": PAIR, "condition": {"threshold": 2}}
    made = client.post(URL + "create/", json={**body, "severity": "critical", "note": "call Ann"}).get_json()
    create(client, threshold=1)
    (listed,) = client.get(URL + "?severity=critical").get_json()["alerts"]
    assert (listed["id"], listed["severity"], listed["note"], listed["state"]) == (made["id"], "critical", "call Ann", "inactive")
    assert client.get(f"{URL}{made['id']}/").get_json() == listed


def test_alerts_are_paged_by_id(client: FlaskClient) -> None:
    for n in range(5):
        create(client, threshold=n)
    first = [alert["id"] for alert in client.get(URL + "?limit=2").get_json()["alerts"]]
    rest = [alert["id"] for alert in client.get(f"{URL}?before={first[-1]}").get_json()["alerts"]]
    assert (first, rest) == ([5, 4], [3, 2, 1])


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"alert_type": "moon"}, "alert_type", "must be one of zscore_high"),
    ({"alert_type": None}, "alert_type", ""),
    ({"symbol_pair": "x y"}, "symbol_pair", "must be a symbol or a pair such as BTCUSDT_ETHUSDT, was 'X Y'"),
    ({"symbol_pair": "x\u0000"}, "symbol_pair", r"must be text without NUL and without halves of characters, was 'x\x00'"),
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
    ({"condition": {"threshold": 2, "clear": 3}}, "condition.clear", "at most the threshold (2): else"),
    ({"alert_type": "spread_below", "condition": {"threshold": 2, "clear": 1}}, "condition.clear", "at least the threshold"),
    ({"alert_type": "zscore_low", "condition": {"threshold": 2, "clear": -3}}, "condition.clear", "nearer to 0"),
    ({"condition": {"threshold": 2, "for_bars": 0}}, "condition.for_bars", "whole number from 1 to 1000, was 0"),
    ({"condition": {"threshold": 2, "for_bars": 1.5}}, "condition.for_bars", "whole number"),
    ({"condition": {"threshold": 2, "for_s": "5"}}, "condition.for_s", "finite number"),
    ({"condition": {"threshold": 2, "repeat_s": 0}}, "condition.repeat_s", "from 1 to"),
    ({"condition": {"threshold": 2, "window": 0}}, "condition.window", "whole number from 1"),
    ({"condition": {"threshold": 2, "method": "magic"}}, "condition.method", "must begin with one of ols"),
    ({"condition": {"threshold": 2, "method": 5}}, "condition.method", "must be text"),
    ({"alert_type": "price_above", "condition": {"threshold": 2, "window": 5}}, "condition.window", "price_above has"),
    ({"alert_type": "feed_stale", "condition": {"threshold": 0}}, "condition.threshold", "above 0"),
    ({"alert_type": "feed_stale", "condition": {"threshold": 5, "for_s": 1}}, "condition.for_s", "is not known"),
    ({"severity": "loud"}, "severity", "must be one of info, warning, critical, was 'loud'"),
    ({"note": "x" * 1001}, "note", "at most 1000"),
    ({"note": "a\u0000b"}, "note", "must be text"),
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
    ({"condition": {"threshold": 2, "window": 33}}, "condition.window", "followed with (ols over 60 bars), was 33"),
    ({"condition": {"threshold": 2, "method": "tls"}}, "condition.method", "followed with (ols over 60 bars), was 'tls'"),
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


#  By hand -------------------------------------------------------------------------------------------------------------


def fire(database: Connection, alert_id: int) -> None:
    """Let an alert stand as the aggregator would leave it when it fires."""
    state = {"name": "firing", "since_us": 1, "held": 0, "fired_us": 1, "told_us": 1, "armed": False}
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE alerts SET state = %s, status = 'triggered', firing = true WHERE id = %s", (Json(state), alert_id))


def events(client: FlaskClient, query: str = "") -> list[tuple[int, str]]:
    return [(event["id"], event["transition"]) for event in client.get(f"{URL}events/{query}").get_json()["events"]]


def test_what_fires_is_acknowledged_once(client: FlaskClient, database: Connection, redis_client: redis.Redis) -> None:
    create(client, threshold=2)
    refused = client.post(URL + "1/ack/")
    assert (refused.status_code, refused.get_json()["error"]) == (409, "alert 1 does not fire: its state is inactive")
    fire(database, 1)
    told = client.post(URL + "1/ack/", json={"note": "on it"}).get_json()
    assert (told["status"], told["state"], told["firing"]) == ("acknowledged", "acknowledged", True)
    assert client.post(URL + "1/ack").status_code == 409
    (event,) = client.get(URL + "1/events/").get_json()["events"]
    assert (event["transition"], event["details"]) == ("acknowledged", {"state": "firing", "note": "on it"})
    ((_, fields),) = redis_client.xrange(LIVE)
    assert fields[b"event"] == b"alert" and b'"acknowledged"' in fields[b"data"]


def test_a_pause_ends_where_it_is_resumed(client: FlaskClient, database: Connection) -> None:
    create(client, threshold=2)
    fire(database, 1)
    assert client.post(URL + "1/resume/").status_code == 409
    paused = client.post(URL + "1/pause/").get_json()
    assert (paused["status"], paused["state"], paused["firing"]) == ("paused", "paused", False)
    assert client.post(URL + "1/pause/").status_code == 409
    resumed = client.post(URL + "1/resume/", json={}).get_json()
    assert (resumed["status"], resumed["state"]) == ("active", "inactive")
    assert events(client) == [(1, "resumed"), (1, "paused")]


def test_an_edit_begins_again(client: FlaskClient, database: Connection) -> None:
    create(client, threshold=2, for_bars=3)
    fire(database, 1)
    edited = client.patch(URL + "1/", json={"condition": {"threshold": 3, "timeframe": "1m"}, "severity": "info"}).get_json()
    assert (edited["condition"], edited["timeframe"], edited["severity"]) == ({"threshold": 3, "timeframe": "1m"}, "1m", "info")
    assert (edited["status"], edited["state"], edited["firing"]) == ("active", "inactive", False)
    client.patch(URL + "1/", json={"expires_at": "2030-01-01T00:00:00Z", "note": "x"})
    assert client.patch(URL + "1/", json={"expires_at": None}).get_json()["expires_at"] is None
    changed = [event["details"]["changed"] for event in client.get(URL + "1/events/?order=asc").get_json()["events"]]
    assert changed == [["condition", "severity"], ["expires_at", "note"], ["expires_at"]]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "body", "at least one of"), ({"condition": {}}, "condition.threshold", "is required"),
        ({"condition": None}, "condition", "must be given"), ({"severity": "x"}, "severity", "must be one of"),
        ({"condition": {"threshold": 1, "window": 7}}, "condition.window", "followed with"),
    ],
)  # fmt: skip
def test_a_bad_edit_changes_nothing(client: FlaskClient, body: dict[str, Any], field: str, words: str) -> None:
    create(client, threshold=2)
    refused = client.patch(URL + "1/", json=body)
    assert (refused.status_code, refused.get_json()["field"]) == (400, field) and words in refused.get_json()["error"]
    assert client.get(URL + "1/").get_json()["condition"] == {"threshold": 2, "timeframe": "1s"} and events(client) == []


@pytest.mark.parametrize("alert_id", ["7", "9223372036854775808"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("get", ""), ("patch", ""), ("post", "ack/"), ("post", "pause/"), ("post", "resume/"), ("get", "events/")],
)
def test_what_is_not_there_can_not_be_changed(client: FlaskClient, alert_id: str, method: str, path: str) -> None:
    response = client.open(f"{URL}{alert_id}/{path}", method=method, json={"note": "x"} if method != "get" else None)
    assert (response.status_code, response.get_json()["error"]) == (404, "Alert not found")


def test_the_history_is_paged_and_filtered_and_outlives_its_alert(client: FlaskClient) -> None:
    create(client, threshold=2)
    create(client, "price_above", "BTCUSDT", threshold=2)
    for alert_id in (1, 2):
        client.post(f"{URL}{alert_id}/pause/")
        client.post(f"{URL}{alert_id}/resume/")
    assert events(client, "?limit=3") == [(2, "resumed"), (2, "paused"), (1, "resumed")]
    last = client.get(URL + "events/?limit=3").get_json()["events"][-1]["event_id"]
    assert events(client, f"?before={last}") == [(1, "paused")]
    assert events(client, "?symbol_pair=BTCUSDT&transition=paused") == [(2, "paused")]
    assert events(client, "?severity=info") == []
    client.delete(URL + "1/delete/")
    of_the_deleted = client.get(URL + "1/events/?order=asc").get_json()["events"]
    assert [event["transition"] for event in of_the_deleted] == ["paused", "resumed"]
    assert client.get(URL + "events/?transition=moon").get_json()["field"] == "transition"


def test_a_change_is_committed_though_redis_is_away(client: FlaskClient, app: Any) -> None:
    create(client, threshold=2)
    app.extensions["gems.stores"].redis = redis.Redis(host="127.0.0.1", port=1)
    assert client.post(URL + "1/pause/").get_json()["status"] == "paused"


def test_a_silence_is_made_listed_and_ended(client: FlaskClient) -> None:
    create(client, threshold=2)
    made = client.post(URL + "silences/", json={"symbol_pair": PAIR, "until": "2090-01-01T00:00:00Z", "note": "release"})
    assert made.status_code == 201
    silence = made.get_json()
    assert silence.items() >= {"id": 1, "symbol_pair": PAIR, "until": "2090-01-01T00:00:00.000000Z", "active": True}.items()
    assert client.get(URL + "1/").get_json()["silenced_until"] == silence["until"]
    assert client.get(URL + "silences/").get_json() == {"silences": [silence], "count": 1, "complete": True, "next_cursor": None}
    assert client.get(URL + "silences/?symbol_pair=BTCUSDT").get_json()["count"] == 0
    assert client.delete(URL + "silences/1/").get_json() == {"status": "ended"}
    gone = client.delete(URL + "silences/1/")
    assert (gone.status_code, gone.get_json()["error"]) == (404, "Silence not found")
    assert client.get(URL + "silences/").get_json()["count"] == 0
    assert client.get(URL + "silences/?ended=true").get_json()["silences"][0]["active"] is False


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"symbol_pair": "NOSUCH"}, "symbol_pair", "neither a followed pair nor a known symbol"),
        ({"until": "2020-01-01T00:00:00Z"}, "until", "must be in the future"), ({"until": "soon"}, "until", "soon"),
        ({"until": None}, "until", "must be given"), ({"symbol_pair": ""}, "symbol_pair", "must be"),
    ],
)  # fmt: skip
def test_a_bad_silence_is_400(client: FlaskClient, body: dict[str, Any], field: str, words: str) -> None:
    response = client.post(URL + "silences/", json={"symbol_pair": PAIR, "until": "2090-01-01T00:00:00Z", **body})
    assert (response.status_code, response.get_json()["field"]) == (400, field) and words in response.get_json()["error"]
