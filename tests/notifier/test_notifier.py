# ruff: noqa: S608 - names are of this file
"""The notifier on a real outbox, with real receivers."""

import hashlib
import hmac
import threading
import time

import pytest
from psycopg2.extensions import connection as Connection

from common.database import connect_database, transaction
from common.outbox import end_deliveries, queue_deliveries, queue_trial
from common.settings import Settings
from tests.notifier.house import SECRET, add_receiver, event, notifying, queue, rows, states, until
from tests.notifier.receiving import Call, Reply, Server, a_server


@pytest.fixture
def server():
    with a_server() as started:
        yield started


def delivered(database: Connection, count: int) -> list[tuple]:
    return until(
        lambda: len(found := rows(database, "SELECT id FROM alert_deliveries WHERE state = 'delivered'")) >= count and found,
        f"{count} delivered",
    )


def test_the_signature_covers_time_and_body(settings: Settings, database: Connection, server: Server) -> None:
    add_receiver(database, "hook", server.url())
    queue(database, event(41))
    with notifying(settings):
        delivered(database, 1)
    (call,) = server.calls
    stamp = call.headers["x-gems-timestamp"]
    expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + call.body, hashlib.sha256).hexdigest()
    assert call.headers["x-gems-signature"] == f"v1={expected}"
    assert abs(time.time() - int(stamp)) < 30
    assert call.event_key == "41"
    assert call.headers["content-type"] == "application/json"
    assert call.json == {"version": 1, "trial": False, **event(41)}
    assert states(database) == [("41", "delivered", 1, "")]


def test_a_failure_is_tried_again_with_the_same_id_and_a_new_signature(
    settings: Settings, database: Connection, server: Server
) -> None:
    server.reply = lambda call: Reply(503, {"Retry-After": "1"}) if len(server.calls) < 2 else Reply()
    add_receiver(database, "hook", server.url())
    queue(database, event())
    with notifying(settings):
        delivered(database, 1)
    first, second = server.calls
    assert first.event_key == second.event_key == "1"
    assert first.body == second.body
    assert first.headers["x-gems-signature"] != second.headers["x-gems-signature"]
    assert states(database) == [("1", "delivered", 2, "")]


def test_retry_after_is_waited_for(settings: Settings, database: Connection, server: Server) -> None:
    server.reply = lambda call: Reply(429, {"Retry-After": "3"}) if len(server.calls) < 2 else Reply()
    add_receiver(database, "hook", server.url())
    queue(database, event())
    with notifying(settings):
        delivered(database, 1)
    first, second = server.calls
    assert second.at_s - first.at_s >= 2.9


def test_what_will_not_pass_is_dead_at_once_and_holds_up_nothing(
    settings: Settings, database: Connection, server: Server
) -> None:
    server.reply = lambda call: Reply(404 if call.event_key == "1" else 200)
    add_receiver(database, "hook", server.url())
    queue(database, event(1), event(2))
    with notifying(settings):
        delivered(database, 1)
    assert states(database) == [("1", "dead", 1, "HTTP 404"), ("2", "delivered", 1, "")]


def test_a_delivery_is_given_up_after_its_attempts(settings: Settings, database: Connection) -> None:
    with a_server() as closed:
        url = closed.url()
    add_receiver(database, "hook", url)
    queue(database, event(1))
    with notifying(settings, notify_attempts=2):
        until(lambda: states(database)[0][1] == "dead", "dead delivery")
    assert states(database) == [("1", "dead", 2, "given up after 2 attempts: connection refused")]


def test_a_private_address_is_refused_at_the_delivery_too(settings: Settings, database: Connection, server: Server) -> None:
    add_receiver(database, "hook", server.url())  # as if it had been allowed once
    queue(database, event(1))
    with notifying(settings, notify_private=False):
        until(lambda: states(database)[0][1] == "dead", "dead delivery")
    assert server.calls == []
    assert states(database)[0][3] == "127.0.0.1: loopback; GEMS_NOTIFY_PRIVATE=true allows such addresses"


def test_slow_and_dead_receivers_delay_no_other(settings: Settings, database: Connection, server: Server) -> None:
    """More slow ones than places for those who failed; some drip bytes for ever, some are gone, some never answer."""
    with a_server() as slow, a_server() as gone:
        gone_url = gone.url()
        slow.reply = lambda call: Reply(drip=10_000) if "drip" in call.path else Reply(wait_s=60)
        gone.close()
        for number in range(4):
            add_receiver(database, f"drip {number}", slow.url(f"/drip{number}"))
            add_receiver(database, f"slow {number}", slow.url(f"/slow{number}"))
            add_receiver(database, f"gone {number}", gone_url)
        with notifying(settings, notify_timeout_s=6.0, notify_at_once=16):
            queue(database, event(1))
            until(lambda: len(slow.calls) >= 8, "slow ones being tried")
            quick = add_receiver(database, "quick", server.url())
            waits = []
            for number in range(2, 22):
                began_s = time.monotonic()
                queue(database, event(number))
                until(lambda n=number: len(server.calls) >= n - 1, "quick delivery")
                waits.append(server.calls[-1].at_s - began_s)
            assert server.keys() == [str(number) for number in range(2, 22)]
            assert max(waits) < 5.7, waits  # less than one timeout of a slow one
            until(lambda: _failures(database, "drip") >= 4, "failures of those who drip")
            until(lambda: _failures(database, "slow") >= 4, "failures of the slow")
        rest = rows(database, "SELECT count(*) FROM alert_deliveries WHERE receiver_id = %s AND state <> 'delivered'", (quick,))
        assert rest == [(0,)]
        reasons = rows(database, "SELECT DISTINCT last_error FROM alert_deliveries WHERE last_error <> '' ORDER BY 1")
        assert reasons == [("connection refused",), ("no answer within 6 s",)]


def _failures(database: Connection, name: str) -> int:
    joined = "alert_deliveries JOIN alert_receivers AS receiver ON receiver.id = receiver_id"
    return int(rows(database, f"SELECT count(*) FROM {joined} WHERE name LIKE %s AND attempts > 0", (f"{name}%",))[0][0])


def test_two_notifiers_keep_the_order_of_each_receiver_one_at_a_time(
    settings: Settings, database: Connection, server: Server
) -> None:
    inside, most, lock = {"/a": 0, "/b": 0}, {"/a": 0, "/b": 0}, threading.Lock()

    def reply(call: Call) -> Reply:
        with lock:
            inside[call.path] += 1
            most[call.path] = max(most[call.path], inside[call.path])
        time.sleep(0.002)
        with lock:
            inside[call.path] -= 1
        return Reply(500) if call.event_key == "20" and call.path == "/a" and keys("/a").count("20") < 2 else Reply()

    def keys(path: str) -> list[str]:
        return [call.event_key for call in list(server.calls) if call.path == path]

    server.reply = reply
    for path in ("/a", "/b"):
        add_receiver(database, path, server.url(path))
    with notifying(settings), notifying(settings):
        queue(database, *(event(number) for number in range(1, 121)))
        delivered(database, 240)
    assert most == {"/a": 1, "/b": 1}
    expected = [str(number) for number in range(1, 121)]
    assert keys("/b") == expected
    assert keys("/a") == [*expected[:20], "20", *expected[20:]]


def test_a_new_event_is_delivered_at_once_not_at_the_next_look(settings: Settings, database: Connection, server: Server) -> None:
    add_receiver(database, "hook", server.url())
    with notifying(settings):
        queue(database, event(1))
        until(lambda: server.calls, "first delivery")
        waits = []
        for number in range(2, 22):
            time.sleep(0.03)  # it is asleep again
            began_s = time.monotonic()
            queue(database, event(number))
            until(lambda n=number: len(server.calls) >= n, "delivery")
            waits.append(server.calls[-1].at_s - began_s)
    assert sorted(waits)[len(waits) // 4] < 0.25, waits  # the next look would be half a second after the last


def test_filters_choose_who_is_told(database: Connection) -> None:
    def told(**fields: object) -> list[str]:
        with transaction(database), database.cursor() as cursor:
            queue_deliveries(cursor, event(**fields))
            cursor.execute("DELETE FROM alert_deliveries USING alert_receivers r WHERE r.id = receiver_id RETURNING name")
            return sorted(row[0] for row in cursor.fetchall())

    add_receiver(database, "all", "http://a.example/")
    add_receiver(database, "critical", "http://a.example/", min_severity="critical")
    add_receiver(database, "typed", "http://a.example/", alert_types=["gap", "feed_stale"])
    add_receiver(database, "paired", "http://a.example/", symbol_pairs=["SOLUSDT"])
    add_receiver(database, "brief", "http://a.example/", send_resolved=False)
    add_receiver(database, "off", "http://a.example/", enabled=False)
    gone = add_receiver(database, "gone", "http://a.example/")
    rows(database, "UPDATE alert_receivers SET deleted_at = now() WHERE id = %s", (gone,))
    assert told() == ["all", "brief"]
    assert told(severity="critical") == ["all", "brief", "critical"]
    assert told(alert_type="gap") == ["all", "brief", "typed"]
    assert told(symbol_pair="SOLUSDT") == ["all", "brief", "paired"]
    assert told(transition="cleared") == told(transition="expired") == ["all"]


def test_an_event_that_is_queued_twice_is_one_delivery(database: Connection) -> None:
    add_receiver(database, "hook", "http://a.example/")
    queue(database, event(5), event(5))
    assert states(database) == [("5", "waiting", 0, "")]


def test_an_event_that_is_rolled_back_was_never_queued(database: Connection) -> None:
    add_receiver(database, "hook", "http://a.example/")
    with pytest.raises(RuntimeError), transaction(database), database.cursor() as cursor:
        queue_deliveries(cursor, event())
        raise RuntimeError
    assert states(database) == []


def test_details_that_json_has_no_word_for_do_not_fail_the_event(database: Connection) -> None:
    add_receiver(database, "hook", "http://a.example/")
    queue(database, event(value=float("nan"), details={"inf": float("inf"), "set": {1}, "text": "a\0b"}))
    ((body,),) = rows(database, "SELECT body FROM alert_deliveries")
    assert body["value"] is None
    assert body["details"] == {"inf": None, "set": "{1}", "text": "ab"}


def test_what_waits_for_a_disabled_receiver_is_ended_also_what_was_queued_at_that_moment(
    settings: Settings, database: Connection, server: Server
) -> None:
    receiver = add_receiver(database, "hook", server.url())
    late = connect_database(settings)
    with transaction(late), late.cursor() as cursor:
        queue_deliveries(cursor, event(1))  # not committed yet
        queue(database, event(2))
        with transaction(database), database.cursor() as other:
            other.execute("UPDATE alert_receivers SET enabled = false WHERE id = %s", (receiver,))
            assert end_deliveries(other, receiver, "the receiver was disabled") == 1
    late.close()
    with notifying(settings):
        until(lambda: {state[1] for state in states(database)} == {"ended"}, "end of all")
    assert {state[3] for state in states(database)} == {"the receiver was disabled"}
    assert server.calls == []


def test_a_trial_reaches_one_receiver_whatever_it_filters(settings: Settings, database: Connection, server: Server) -> None:
    receiver = add_receiver(database, "hook", server.url(), min_severity="critical", symbol_pairs=["X"])
    with transaction(database), database.cursor() as cursor:
        assert len(queue_trial(cursor, event(None), receiver)) == 1
    with notifying(settings):
        delivered(database, 1)
    (call,) = server.calls
    assert call.event_key.startswith("trial-")
    assert call.json["trial"] is True


def test_apprise_carries_headline_and_lines(settings: Settings, database: Connection, server: Server) -> None:
    add_receiver(database, "json", f"json://127.0.0.1:{server.port}/x", kind="apprise", secret="")
    add_receiver(database, "own", f"json://127.0.0.1:{server.port}/own", kind="apprise", template="{{symbol_pair}} {{value}}")
    with notifying(settings):
        queue(database, event(1), event(2))
        delivered(database, 4)
    ours = [call.json for call in server.calls if call.path.startswith("/x")]
    assert [message["title"] for message in ours] == ["[warning] zscore_high BTCUSDT_ETHUSDT 1s: triggered"] * 2
    assert ours[0]["message"].splitlines()[-1] == "event 1"
    assert [call.json["message"] for call in server.calls if call.path.startswith("/own")] == ["BTCUSDT_ETHUSDT 2.5"] * 2


def test_a_failure_of_apprise_is_told_without_the_url(settings: Settings, database: Connection) -> None:
    with a_server() as closed:
        url = f"json://user:secret-token@127.0.0.1:{closed.port}/path-token"
    add_receiver(database, "json", url, kind="apprise")
    queue(database, event(1))
    with notifying(settings, notify_attempts=1):
        until(lambda: states(database)[0][1] == "dead", "dead delivery")
    reason = states(database)[0][3]
    assert reason.startswith("given up after 1 attempts") and "token" not in reason


def test_at_rest_it_hardly_works(settings: Settings, database: Connection, server: Server) -> None:
    add_receiver(database, "hook", server.url())
    with notifying(settings):
        queue(database, event(1))
        delivered(database, 1)
        time.sleep(0.2)
        began_s = time.thread_time(), time.process_time()
        time.sleep(2.0)
        assert time.process_time() - began_s[1] < 0.1
