# ruff: noqa: S608 - names are of this file
"""Receivers and deliveries of alerts over the API."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from tests.notifier.house import add_receiver, event, queue, rows
from web.app import close_app, create_app

URL = "/api/analytics/alerts/receivers/"
DELIVERIES = "/api/analytics/alerts/deliveries/"
PUBLIC = "http://1.1.1.1/hooks/a-secret-path"


def create(client: FlaskClient, **fields: Any) -> Any:
    return client.post(URL, json={"name": "desk", "url": PUBLIC, **fields})


def test_a_receiver_is_created_listed_changed_and_deleted(client: FlaskClient) -> None:
    made = create(client, min_severity="warning", alert_types=["zscore_high"], symbol_pairs=["btcusdt_ethusdt"])
    assert made.status_code == 201
    receiver = made.get_json()
    secret = receiver.pop("secret")
    assert len(secret) >= 32
    assert receiver.items() >= {
        "id": 1, "name": "desk", "kind": "webhook", "url": "http://1.1.1.1/***", "min_severity": "warning", "template": "",
        "send_resolved": True, "enabled": True, "waiting": 0, "dead": 0,
    }.items()  # fmt: skip
    assert (receiver["alert_types"], receiver["symbol_pairs"]) == (["zscore_high"], ["BTCUSDT_ETHUSDT"])
    assert client.get(URL).get_json() == {"receivers": [receiver], "count": 1, "complete": True, "next_cursor": None}
    changed = client.patch(f"{URL}1/", json={"name": "night desk", "send_resolved": False})
    assert changed.status_code == 200
    kept = {**receiver, "name": "night desk", "send_resolved": False, "updated_at": changed.get_json()["updated_at"]}
    assert changed.get_json() == kept
    assert client.get(f"{URL}1/").get_json() == kept
    assert client.delete(f"{URL}1/").status_code == 204
    for method in ("get", "patch", "delete"):
        assert client.open(f"{URL}1/", method=method.upper(), json={}).status_code == 404


def test_urls_and_secrets_are_never_answered_again(client: FlaskClient, database: Connection) -> None:
    create(client, secret="0123456789abcdef-of-mine")
    client.patch(f"{URL}1/", json={"url": "https://1.1.1.1/other-secret-path"})
    text = client.get(URL).get_data(as_text=True) + client.get(f"{URL}1/").get_data(as_text=True)
    assert "secret-path" not in text and "of-mine" not in text
    assert rows(database, "SELECT url, secret FROM alert_receivers") == [
        ("https://1.1.1.1/other-secret-path", "0123456789abcdef-of-mine")
    ]
    client.delete(f"{URL}1/")
    assert rows(database, "SELECT url, secret FROM alert_receivers") == [("", "")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"url": "http://127.0.0.1/"}, "url"), ({"url": "http://2130706433:8000/"}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "http://localhost/"}, "url"), ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "ftp://1.1.1.1/"}, "url"), ({"url": "http://user:pw@1.1.1.1/"}, "url"), ({"url": ""}, "url"),
        ({"url": 5}, "url"),
        ({"kind": "apprise", "url": "json://127.0.0.1/"}, "url"), ({"kind": "apprise", "url": "nonsense://x"}, "url"),
        ({"kind": "apprise", "url": "syslog://localhost"}, "url"), ({"kind": "pigeon"}, "kind"), ({"name": ""}, "name"),
        ({"template": "{{no}}"}, "template"), ({"template": '{"a": {{note}'}, "template"), ({"secret": "short"}, "secret"),
        ({"min_severity": "loud"}, "min_severity"), ({"alert_types": ["no"]}, "alert_types[0]"), ({"enabled": "yes"}, "enabled"),
    ],
)  # fmt: skip
def test_what_could_not_be_delivered_is_refused_when_it_is_made(client: FlaskClient, fields: dict[str, Any], field: str) -> None:
    answer = create(client, **fields)
    assert answer.status_code == 400, answer.get_json()
    assert answer.get_json()["field"] == field, answer.get_json()
    assert client.get(URL).get_json()["count"] == 0


def test_a_change_is_looked_at_as_a_new_one(client: FlaskClient) -> None:
    create(client)
    for change in ({"url": "http://10.0.0.1/"}, {"template": "{{no}}"}, {"name": "x\ny"}, {"enabled": None}):
        assert client.patch(f"{URL}1/", json=change).status_code == 400, change
    create(client, name="other")
    assert create(client, name="other").status_code == 409
    assert client.patch(f"{URL}1/", json={"name": "other"}).status_code == 409


def test_private_addresses_are_taken_where_the_setting_allows_them(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"notify_private": True}))
    client = app.test_client()
    assert create(client, url="http://127.0.0.1:9/").status_code == 201
    made = create(client, name="json", kind="apprise", url="json://127.0.0.1:9/token-of-it")
    assert made.status_code == 201
    assert made.get_json()["url"] == "json://***"
    assert "secret" not in made.get_json()
    close_app(app)


def test_deliveries_are_listed_by_pages_and_filters(client: FlaskClient, database: Connection) -> None:
    add_receiver(database, "a", PUBLIC)
    add_receiver(database, "b", PUBLIC)
    queue(database, *(event(number) for number in range(1, 6)))
    rows(database, "UPDATE alert_deliveries SET state = 'dead', last_error = 'HTTP 404' WHERE event_key = '3'")
    found, before = [], ""
    while before is not None:
        page = client.get(f"{DELIVERIES}?limit=5{before}").get_json()
        found += page["deliveries"]
        assert page["complete"] is (page["next_cursor"] is None) is (len(found) == 10)
        before = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert [row["id"] for row in found] == [*range(10, 0, -1)]
    assert found[0].items() >= {"receiver": "b", "event_id": "5", "alert_id": 7, "state": "waiting", "attempts": 0}.items()
    assert found[0]["body"]["symbol_pair"] == "BTCUSDT_ETHUSDT"
    dead = client.get(f"{DELIVERIES}?state=dead&receiver_id=1&alert_id=7").get_json()["deliveries"]
    assert [(row["event_id"], row["last_error"]) for row in dead] == [("3", "HTTP 404")]
    assert client.get(f"{DELIVERIES}?state=lost").status_code == 400
    assert [receiver["dead"] for receiver in client.get(URL).get_json()["receivers"]] == [1, 1]


def test_what_is_dead_can_be_tried_again(client: FlaskClient, database: Connection) -> None:
    add_receiver(database, "a", PUBLIC)
    add_receiver(database, "b", PUBLIC)
    queue(database, event(1), event(2))
    assert client.post(f"{DELIVERIES}1/retry/").status_code == 409
    long_ago = "finished_at = now(), queued_at = now() - interval '1 day'"
    rows(database, f"UPDATE alert_deliveries SET state = 'dead', attempts = 15, {long_ago}")
    assert client.post(f"{DELIVERIES}1/retry/").get_json() == {"retried": 1}
    fresh = "queued_at > now() - interval '1 minute'"
    again = rows(database, f"SELECT state, attempts, finished_at, {fresh} FROM alert_deliveries WHERE id = 1")
    assert again == [("waiting", 0, None, True)]
    assert client.post(f"{DELIVERIES}retry/", json={"receiver_id": 2}).get_json() == {"retried": 2}
    assert client.post(f"{DELIVERIES}retry/", json={}).get_json() == {"retried": 1}
    assert client.post(f"{DELIVERIES}99/retry/").status_code == 404
    assert client.post(f"{DELIVERIES}{2**70}/retry/").status_code == 404
    assert client.post(f"{DELIVERIES}retry/", json={"receiver_id": 9}).status_code == 404


def test_disabling_and_deleting_end_what_waits_and_a_retry_of_it_is_refused(client: FlaskClient, database: Connection) -> None:
    add_receiver(database, "a", PUBLIC)
    add_receiver(database, "b", PUBLIC)
    queue(database, event(1))
    assert client.patch(f"{URL}1/", json={"enabled": False}).status_code == 200
    assert client.delete(f"{URL}2/").status_code == 204
    ended = rows(database, "SELECT state, last_error FROM alert_deliveries ORDER BY id")
    assert ended == [("ended", "the receiver was disabled"), ("ended", "the receiver was deleted")]
    assert client.post(f"{DELIVERIES}1/retry/").status_code == 409
    client.patch(f"{URL}1/", json={"enabled": True})
    assert client.post(f"{DELIVERIES}1/retry/").status_code == 202


def test_a_trial_of_an_alert_goes_to_all_that_it_would_reach(client: FlaskClient, database: Connection) -> None:
    made = client.post(
        "/api/analytics/alerts/create/",
        json={"alert_type": "zscore_high", "symbol_pair": "BTCUSDT_ETHUSDT", "condition": {"threshold": 2.25}},
    )
    trial = f"/api/analytics/alerts/{made.get_json()['id']}/test/"
    assert client.post(trial).status_code == 409
    add_receiver(database, "a", PUBLIC)
    add_receiver(database, "b", PUBLIC, alert_types=["gap"])
    add_receiver(database, "c", PUBLIC, symbol_pairs=["BTCUSDT_ETHUSDT"])
    answer = client.post(trial)
    assert answer.status_code == 202
    joined = "alert_deliveries AS delivery JOIN alert_receivers AS receiver ON receiver.id = receiver_id"
    queued = rows(database, f"SELECT delivery.id, name, trial, body FROM {joined} ORDER BY 1")
    assert [row[0] for row in queued] == answer.get_json()["deliveries"]
    assert [(name, is_trial) for _, name, is_trial, _ in queued] == [("a", True), ("c", True)]
    body = queued[0][3]
    assert body.items() >= {
        "trial": True, "event_id": None, "alert_type": "zscore_high", "symbol_pair": "BTCUSDT_ETHUSDT", "threshold": 2.25,
        "severity": "warning",
    }.items()  # fmt: skip
    assert client.post("/api/analytics/alerts/99/test/").status_code == 404


def test_a_trial_of_a_receiver(client: FlaskClient, database: Connection) -> None:
    add_receiver(database, "a", PUBLIC, min_severity="critical")
    add_receiver(database, "off", PUBLIC, enabled=False)
    assert client.post(f"{URL}1/test/").get_json() == {"deliveries": [1]}
    assert client.post(f"{URL}2/test/").status_code == 409
    assert client.post(f"{URL}3/test/").status_code == 404
    ((key, body),) = rows(database, "SELECT event_key, body FROM alert_deliveries")
    assert key.startswith("trial-") and json.dumps(body)
