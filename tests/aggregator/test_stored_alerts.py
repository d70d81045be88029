"""Alerts as PostgreSQL has them: every bar is looked at once, whatever closes together, crashes or is revised."""

import pytest

from common.events import Event
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, each_second
from tests.aggregator.stored import alert, feed, transitions, two_walks


def test_every_bar_is_looked_at_however_many_close_at_once(house):
    above = alert(house, "price_above", "A", threshold=10)
    prices = ["9", "11", "12", "9", "", "13", "9", "9"]
    house.take(each_second("A", prices))
    house.quiet(2)
    assert transitions(house, above) == [(1, "triggered"), (3, "cleared"), (5, "triggered"), (6, "cleared")]
    status, triggered_at, value = house.rows("SELECT status, triggered_at, trigger_value FROM alerts")[0]
    assert (status, triggered_at, value) == ("active", from_us(START_US + 5 * SECOND), 13.0)
    assert sum(event.event == "alert" for event in house.events) == 4


def test_moves_and_volumes_look_back_also_within_one_commit(house):
    moved = alert(house, "price_movement", "A", threshold=10)
    spike = alert(house, "volume_spike", "A", threshold=3)
    trades = each_second("A", ["100"] * 24 + ["111", "111", "99", "99"])
    trades[22] = trades[22]._replace(size="3.5")
    trades[10] = trades[10]._replace(size="50")
    house.take(trades)
    house.quiet(2)
    assert transitions(house, moved) == [(24, "triggered"), (25, "cleared"), (26, "triggered"), (27, "cleared")]
    assert transitions(house, spike) == [], (
        "3.5 is little against a mean that holds the 50; and 50 came before 20 bars were there"
    )
    house.take([Trade("A", 500, START_US + 40 * SECOND, "99", "90", "b")])
    house.quiet(2)
    assert transitions(house, spike) == [(40, "triggered")]


def test_pair_alerts_fire_and_clear_on_the_pairs_rows(house):
    kinds = {"zscore_high": 1.2, "zscore_low": 1.2, "correlation_break": 0.0}
    ids = {kind: alert(house, kind, "A_B", threshold=threshold) for kind, threshold in kinds.items()}
    feed(house, two_walks(100, missing=0.0))
    house.quiet(5)
    rows = house.rows("SELECT z_score, correlation FROM spread_analytics WHERE timeframe = '1s' ORDER BY timestamp")
    holds = {
        "zscore_high": [z is not None and z > 1.2 for z, _ in rows],
        "zscore_low": [z is not None and z < -1.2 for z, _ in rows],
        "correlation_break": [r is not None and r < 0.0 for _, r in rows],
    }
    for kind, states in holds.items():
        crossings = sum(after and not before for before, after in zip([False, *states], states, strict=False))
        found = [name for _, name in transitions(house, ids[kind])]
        assert crossings > 1 and found.count("triggered") == crossings, kind


def test_a_crash_before_the_commit_neither_loses_nor_repeats_an_alert(house):
    above = alert(house, "price_above", "A", threshold=10)
    house.take(each_second("A", ["9", "9"]))
    house.rows("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'crash'; END $$")
    house.rows("CREATE TRIGGER crash BEFORE UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION no()")
    more = each_second("A", ["11", "11", "11"], first_id=3, start_us=START_US + 2 * SECOND)
    with pytest.raises(Exception, match="crash"):
        house.take(more)
    assert transitions(house, above) == []
    house.rows("DROP TRIGGER crash ON checkpoints")
    house.rows("UPDATE checkpoints SET token = token")
    house.start()
    house.take(more)
    assert transitions(house, above) == [(2, "triggered")]


def test_a_revision_neither_fires_nor_unfires(house):
    above = alert(house, "price_above", "A", threshold=10)
    feed(house, each_second("A", ["5"] * 8))
    house.take([Trade("A", 99, START_US + 3 * SECOND + 900_000, "50", "1", "b")])
    assert [bar for bar in house.rebuild_marks() if bar.timeframe == "1s"]
    house.take(each_second("A", ["5"] * 4, first_id=100, start_us=START_US + 8 * SECOND))
    assert transitions(house, above) == []


def test_events_are_told_again_after_a_start(house):
    feed(house, each_second("A", ["5"] * 4))
    with house.database, house.database.cursor() as cursor:
        from aggregator.checkpoint import take_over

        told = take_over(cursor, 0).events
    last = [event for event in house.events if event.event == "bar"][-1]
    assert Event("bar", last.body) in told
