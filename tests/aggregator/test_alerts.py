"""Alerts as they are stored: what came late, what was changed, what ends by the clock, who is silent, who changed a rule."""

import pytest
from psycopg2.extras import Json

from aggregator.alerting import inbox
from aggregator.alerting.stage import Step
from common.database import transaction
from common.events import Event
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, House, each_second
from tests.aggregator.stored import alert, transitions


def details(house: House, alert_id: int, transition: str) -> list[dict]:
    return [row[0] for row in house.rows(
        "SELECT details FROM alert_events WHERE alert_id = %s AND transition = %s ORDER BY id", alert_id, transition
    )]  # fmt: skip


def state(house: House, alert_id: int) -> tuple[str, str]:
    return house.rows("SELECT status, coalesce(state->>'name', 'inactive') FROM alerts WHERE id = %s", alert_id)[0]


def told(house: House) -> list[tuple[int, str]]:
    return [(event.body["id"], event.body["transition"]) for event in house.events if event.event == "alert"]


def add_late_bar(house: House, second: int, price: str, trade_id: int) -> None:
    """A trade behind the watermark, in a second without a bar: its bar is made by the rebuild."""
    house.take([Trade("A", trade_id, START_US + second * SECOND + 500_000, price, "1", "b")], src="api")
    house.rebuild_marks()
    house.quiet(0.1)


def test_a_bar_that_a_rebuild_makes_next_is_looked_at_as_any_other(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5"] * 3))
    house.core.doubt("a test says so", 0, 0)
    house.take(each_second("A", ["50", "50", "5", "5"], first_id=4, start_us=START_US + 3 * SECOND))
    house.quiet(2)
    assert transitions(house, above) == []
    house.rebuild_marks()
    house.quiet(0.1)
    assert transitions(house, above) == [(3, "triggered"), (5, "cleared")]
    assert house.rows("TABLE alert_inbox") == []


def test_a_late_bar_is_recorded_and_moves_no_state(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "5", "5", "", "5", "5", "5", "5"]))
    house.quiet(2)
    add_late_bar(house, 3, "50", 1000)
    assert transitions(house, above) == [(3, "triggered")] and state(house, above) == ("active", "inactive")
    (said,) = details(house, above, "triggered")
    assert (said["late"], said["behind_s"]) == (True, 4.0)
    house.take(each_second("A", ["50"] * 3, first_id=8, start_us=START_US + 8 * SECOND))
    house.quiet(2)
    assert transitions(house, above) == [(3, "triggered"), (8, "triggered")]


def test_a_late_bar_between_two_that_hold_says_nothing(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "50", "", "50", "50"]))
    house.quiet(2)
    add_late_bar(house, 2, "60", 1000)
    assert transitions(house, above) == [(1, "triggered")] and state(house, above) == ("triggered", "firing")


def test_a_rule_made_after_a_row_does_not_look_at_it(house):
    alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "5", "5", "", "5", "5"]))
    house.quiet(2)
    house.take([Trade("A", 1000, START_US + 3 * SECOND + 500_000, "50", "1", "b")], src="api")
    house.rebuild_marks()
    newer = alert(house, "price_above", "A", threshold=10)
    house.quiet(0.1)
    assert transitions(house, newer) == [] and house.rows("TABLE alert_inbox") == []


def test_a_rule_made_after_the_next_row_does_not_look_at_it_either(house):
    older = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5"] * 3))
    house.core.doubt("a test says so", 0, 0)
    house.take(each_second("A", ["50", "50", "5", "5"], first_id=4, start_us=START_US + 3 * SECOND))
    house.quiet(2)
    house.rebuild_marks()
    newer = alert(house, "price_above", "A", threshold=10)
    house.quiet(0.1)
    assert transitions(house, older) == [(3, "triggered"), (5, "cleared")] and transitions(house, newer) == []


def test_a_bar_that_is_closed_again_with_other_values_fires_nothing(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5"] * 4))
    house.quiet(2)
    bar = next(event.body for event in house.events if event.event == "bar" and event.body["timeframe"] == "1s")
    house.rows("UPDATE processed_bars SET close = 50, revision = 1 WHERE timeframe = '1s' AND timestamp = %s", bar["timestamp"])
    with transaction(house.database), house.database.cursor() as cursor:
        again = Event("bar.revised", {**bar, "close": 50.0, "revision": 1})
        assert house.store._alerts.step(cursor, Step([again])) == []
    assert transitions(house, above) == [] and state(house, above) == ("active", "inactive")


def test_without_a_rule_a_rebuild_notes_nothing(house):
    house.take(each_second("A", ["5", "5", "5", "", "5", "5"]))
    house.quiet(2)
    add_late_bar(house, 3, "50", 1000)
    assert house.rows("SELECT count(*) FROM alert_inbox") == [(0,)]


def test_more_rows_than_one_transaction_takes_are_taken_in_turn(house, monkeypatch):
    most = 200
    monkeypatch.setattr(inbox, "TAKE_AT_MOST", most)
    above = alert(house, "price_above", "A", threshold=10)
    house.core.doubt("a test says so", 0, 0)
    prices = ["5"] * (most + 30)
    prices[most - 1 : most + 1] = ["50", "50"]
    house.take(each_second("A", prices))
    house.quiet(2)
    house.rebuild_marks()
    house.quiet(0.1)
    assert house.rows("SELECT count(*) > 0 FROM alert_inbox") == [(True,)]
    house.start()
    house.quiet(0.1)
    assert transitions(house, above) == [(most - 1, "triggered"), (most + 1, "cleared")]
    assert house.rows("SELECT count(*) FROM alert_inbox") == [(0,)]


def test_a_changed_bar_gets_an_annotation_beside_what_was_said(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "50", "50", "5", "5"]))
    house.quiet(2)
    before = transitions(house, above)
    house.take([Trade("A", 99, START_US + SECOND + 900_000, "7", "1", "b")], src="api")
    house.rebuild_marks()
    house.quiet(0.1)
    assert transitions(house, above) == [*before, (1, "annotated")] and state(house, above) == ("active", "resolved")
    (note,) = details(house, above, "annotated")
    assert note.items() >= {"was": {"triggered": 50.0}, "holds": False, "row": "changed", "close": 7.0}.items()
    house.take([Trade("A", 100, START_US + SECOND + 950_000, "8", "1", "b")], src="api")
    house.rebuild_marks()
    house.quiet(0.1)
    assert [note["close"] for note in details(house, above, "annotated")] == [8.0]


def test_a_changed_bar_is_in_the_look_back_of_the_next(house):
    spike = alert(house, "volume_spike", "A", threshold=3, window=3)
    house.take(each_second("A", ["5"] * 6))
    house.quiet(2)
    house.take([Trade("A", 99, START_US + 4 * SECOND + 900_000, "5", "30", "b")], src="api")
    house.rebuild_marks()
    house.quiet(0.1)
    house.take(each_second("A", ["5"], first_id=7, start_us=START_US + 6 * SECOND, size="4"))
    house.quiet(2)
    assert transitions(house, spike) == [], "4 against a mean of 11; before the change it would have been against 1"


def test_the_state_outlives_a_restart_bar_by_bar(house):
    held = alert(house, "price_above", "A", threshold=10, for_bars=3)
    prices = ["5", "50", "50", "5", "50", "50", "50", "5", "5"]
    for at, price in enumerate(prices):
        house.take(each_second("A", [price], first_id=at + 1, start_us=START_US + at * SECOND))
        house.start()
    house.quiet(2)
    assert transitions(house, held) == [(1, "pending"), (3, "lapsed"), (4, "pending"), (6, "triggered"), (7, "cleared")]


def test_moves_and_volumes_go_on_over_a_restart(house):
    moved = alert(house, "price_movement", "A", threshold=10)
    spike = alert(house, "volume_spike", "A", threshold=3, window=4)
    trades = each_second("A", ["100", "100", "100", "100", "120", "120"])
    trades[4] = trades[4]._replace(size="4")
    for trade in trades:
        house.take([trade])
        house.start()
    house.quiet(2)
    assert transitions(house, moved) == [(4, "triggered"), (5, "cleared")]
    assert transitions(house, spike) == [(4, "triggered"), (5, "cleared")]


def test_a_rule_expires_though_nothing_comes(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.rows("UPDATE alerts SET expires_at = %s", from_us(START_US + 5 * SECOND))
    house.take(each_second("A", ["50"] * 3))
    house.quiet(4)
    assert transitions(house, above) == [(0, "triggered")]
    house.quiet(10)
    assert transitions(house, above) == [(0, "triggered"), (5, "expired")] and state(house, above)[0] == "expired"


def test_a_silence_is_written_on_the_event_and_nothing_is_queued(house):
    house.rows("INSERT INTO alert_receivers (name, kind, url) VALUES ('ops', 'webhook', 'http://127.0.0.1:9/x')")
    above = alert(house, "price_above", "A", threshold=10)
    house.rows("INSERT INTO alert_silences (symbol_pair, until) VALUES ('A', %s)", from_us(START_US + 6 * SECOND))
    house.take(each_second("A", ["5", "50", "5", "5", "5", "5", "5", "50", "50"]))
    house.quiet(2)
    silenced = house.rows("SELECT silenced FROM alert_events WHERE alert_id = %s ORDER BY id", above)
    deliveries = house.rows("SELECT count(*) FROM alert_deliveries")
    assert silenced in ([(True,), (True,), (False,)], [(False,)] * 3)  # one entry: the clock is already past the silence
    assert deliveries[0][0] == [row[0] for row in silenced].count(False)
    house.rows("UPDATE alert_silences SET until = %s", from_us(START_US + 100 * SECOND))
    house.take(each_second("A", ["5", "5"], first_id=10, start_us=START_US + 9 * SECOND))
    house.quiet(2)
    assert house.rows("SELECT transition, silenced FROM alert_events ORDER BY id DESC LIMIT 1") == [("cleared", True)]
    assert house.rows("SELECT count(*) FROM alert_deliveries") == deliveries


def test_what_is_not_for_receivers_is_not_queued(house):
    house.rows("INSERT INTO alert_receivers (name, kind, url) VALUES ('ops', 'webhook', 'http://127.0.0.1:9/x')")
    alert(house, "price_above", "A", threshold=10, for_bars=2, repeat_s=1)
    house.take(each_second("A", ["5", "50", "5", "50", "50", "50", "5", "5"]))
    house.quiet(2)
    assert [name for _, name in told(house)] == ["pending", "lapsed", "pending", "triggered", "repeated", "cleared"]
    queued = house.rows("SELECT body->>'transition' FROM alert_deliveries ORDER BY id")
    assert [row[0] for row in queued] == ["triggered", "repeated", "cleared"]


@pytest.mark.parametrize("change", ["deleted_at = now()", "state = '{\"name\": \"paused\"}', status = 'paused'"])
def test_what_people_change_counts_from_the_next_transaction_on(house, change):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "50"]))
    house.rows(f"UPDATE alerts SET version = next_alert_change(), {change} WHERE id = {above}")  # noqa: S608
    house.take(each_second("A", ["50", "50", "5", "50"], first_id=3, start_us=START_US + 2 * SECOND))
    house.quiet(2)
    assert [name for _, name in transitions(house, above)] in ([], ["triggered"])
    assert len(transitions(house, above)) == len([1 for at, _ in transitions(house, above) if at < 2])


def test_rules_that_did_not_change_are_not_read_again(house):
    alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["5", "5"]))
    house.rows("UPDATE alerts SET condition = %s", Json({"threshold": 1}))  # behind everybody's back
    house.take(each_second("A", ["5"] * 4, first_id=3, start_us=START_US + 2 * SECOND))
    assert told(house) == []
    house.rows("UPDATE alerts SET version = next_alert_change()")
    house.take(each_second("A", ["5"] * 4, first_id=7, start_us=START_US + 6 * SECOND))
    assert [name for _, name in told(house)] == ["triggered"]


def test_a_silent_feed_fires_at_its_moment_and_again_after_a_restart(house):
    stale = alert(house, "feed_stale", "A", threshold=10)
    house.take(each_second("A", ["5"]))
    last_us = house.now_ms * 1000
    house.quiet(5)
    assert transitions(house, stale) == []
    house.start()
    house.quiet(6)
    assert house.rows("SELECT bar_timestamp, transition FROM alert_events") == [(from_us(last_us + 10 * SECOND), "triggered")]
    house.start()
    house.quiet(30)
    assert len(transitions(house, stale)) == 1
    house.take([Trade("A", 2, house.now_ms * 1000, "5", "1", "b")])
    assert [name for _, name in transitions(house, stale)] == ["triggered", "cleared"]


def test_a_hole_in_the_ids_fires_at_once(house):
    gap, many = alert(house, "gap", "A", threshold=0), alert(house, "gap", "A", threshold=5)
    house.take(each_second("A", ["5", "5", "5"]))
    house.take(each_second("A", ["5"], first_id=6, start_us=START_US + 3 * SECOND))
    assert transitions(house, gap)[-1][1] == "triggered" and transitions(house, many) == []
    assert house.rows("SELECT details->>'first_id', value FROM alert_events WHERE details ? 'first_id'") in ([("4", 2.0)], [])
    house.take(each_second("A", ["5"] * 4, first_id=7, start_us=START_US + 4 * SECOND))
    house.quiet(2)
    assert [name for _, name in transitions(house, gap)] == ["triggered", "cleared"]
