"""Bars as PostgreSQL has them: revised where a value changes, all of a commit or nothing."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import pytest

from aggregator.marks import Rebuilder
from aggregator.rebuild import LOCK, Span
from common.database import connect_database
from common.errors import Fenced
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, House, each_second
from tests.aggregator.stored import feed, two_walks
from tests.processes.feeding import until

BAR = "SELECT high, tick_count, revision, status FROM processed_bars WHERE symbol = 'A' AND timeframe = %s ORDER BY timestamp"
MARKS = "SELECT id FROM dirty_ranges"


def test_bars_equal_sql_and_closing_again_changes_nothing(house):
    feed(house, two_walks(90))
    house.quiet(400)
    assert house.differences() == []
    assert house.rebuild(Span("A", START_US, START_US + 400 * SECOND)) == []
    assert house.rows("SELECT max(revision), count(*) FROM processed_bars WHERE symbol = 'A'")[0][0] == 0
    assert house.rows("TABLE bar_revisions") == []


def test_a_late_trade_raises_the_revision_where_a_value_changes_and_keeps_revision_0(house):
    feed(house, each_second("A", ["5"] * 10))
    house.take([Trade("A", 11, START_US + 3 * SECOND + 200_000, "9", "1", "s")])
    before = house.rows(BAR, "1s")
    assert before[3] == (5, 1, 0, "complete"), "a late trade waits for the rebuild"
    changed = [bar for bar in house.rebuild_marks() if bar.timeframe == "1s"]
    assert [(bar.timestamp, bar.revision, bar.is_new) for bar in changed] == [(from_us(START_US + 3 * SECOND), 1, False)]
    assert house.rows(BAR, "1s")[3][:3] == (9, 2, 1)
    assert {row[2] for n, row in enumerate(house.rows(BAR, "1s")) if n != 3} == {0}
    assert house.rows("SELECT revision, high, tick_count FROM bar_revisions") == [(0, 5, 1)]
    assert house.rebuild(Span("A", START_US, START_US + 9 * SECOND)) == [] and not house.rows("TABLE dirty_ranges")
    house.quiet(400)
    assert house.differences() == []


def test_a_status_is_no_value_and_raises_no_revision(house):
    feed(house, each_second("A", ["5"] * 10))
    house.rows("UPDATE processed_bars SET status = 'gap'")
    assert len(house.rebuild(Span("A", START_US, START_US + 9 * SECOND))) == len(house.rows(BAR, "1s"))
    assert {row[2:] for row in house.rows(BAR, "1s")} == {(0, "complete")}
    assert house.rows("TABLE bar_revisions") == []


def test_a_bar_whose_ticks_are_gone_is_gone_and_kept_as_a_revision(house):
    feed(house, each_second("A", ["5"] * 6))
    house.rows("DELETE FROM raw_ticks WHERE trade_id = 3")
    house.rebuild(Span("A", START_US, START_US + 5 * SECOND))
    assert len(house.rows(BAR, "1s")) == 3
    assert house.rows("SELECT timestamp, revision FROM bar_revisions") == [(from_us(START_US + 2 * SECOND), 0)]


def test_open_bars_are_left_to_the_aggregator(house):
    feed(house, each_second("A", ["5"] * 6))
    house.rebuild(Span("A", START_US, START_US + 3600 * SECOND))
    assert len(house.rows(BAR, "1s")) == 4 and house.rows(BAR, "1m") == []
    house.quiet(400)
    assert house.differences() == []


def test_a_mark_that_doubts_memory_comes_back_for_the_bars_that_are_open(house):
    """The loser of two copies is in the open 1m and 5m bars: they are rebuilt when they close."""
    house.write([Trade("A", 1, START_US + 100, "5", "1", "b")])
    house.take([Trade("A", 1, START_US + 100, "99", "1", "b"), Trade("A", 2, START_US + 2 * SECOND, "6", "1", "b")])
    house.rebuild_marks()
    assert house.rows(BAR, "1s")[0][0] == 5
    due = [row[0] for row in house.rows("SELECT due_us FROM dirty_ranges ORDER BY due_us")]
    assert due == [START_US + 60 * SECOND, START_US + 300 * SECOND]
    house.quiet(400)
    assert house.rows(BAR, "5m")[0][0] == 99, "closed from memory"
    house.rebuild_marks()
    assert house.rows(BAR, "5m")[0][0] == 6 and house.differences() == []


def test_a_mark_that_is_not_due_waits_for_its_bars(house):
    """Taken before they close it would be gone, and they would close from the memory that it doubts."""
    house.write([Trade("A", 1, START_US + 100, "5", "1", "b")])
    house.take([Trade("A", 1, START_US + 100, "99", "1", "b"), Trade("A", 2, START_US + 2 * SECOND, "6", "1", "b")])
    house.rebuild_marks()
    house.rows("UPDATE dirty_ranges SET marked_at = marked_at - interval '1 minute'")
    rebuilder = Rebuilder(house.settings, house.client, house.database, house.leaves)
    assert rebuilder.turn() == rebuilder.turn() == []
    assert len(house.rows(MARKS)) == 2
    house.quiet(400)
    until(lambda: rebuilder.turn() and not house.rows(MARKS), "rebuild")
    assert house.rows(BAR, "5m")[0][0] == 6 and house.differences() == []


def test_a_mark_over_days_that_retention_may_have_dropped_leaves_their_bars(house):
    """Their ticks are gone: rebuilt from what is left, the bars would be gone too."""
    feed(house, each_second("A", ["5"] * 4))
    house.quiet(5)
    before = house.rows(BAR, "1s")
    house.rows("DELETE FROM raw_ticks")
    house.rows(
        "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, marked_at)"
        " VALUES ('A', %s, %s, 'trades', 0, 0, 'test', now() - interval '1 minute')",
        START_US, START_US + 10 * SECOND,
    )  # fmt: skip
    settings = house.settings.model_copy(update={"tick_retention_days": 7})
    rebuilder = Rebuilder(settings, house.client, house.database, house.leaves)
    until(lambda: rebuilder.turn() or not house.rows(MARKS), "the mark's end")
    assert house.rows(BAR, "1s") == before


def test_rebuilds_of_a_symbol_follow_each_other(house):
    """The later one sees more ticks: what the earlier one saw must not be written over it."""
    feed(house, each_second("A", ["5"] * 4))
    span = Span("A", START_US, START_US + SECOND)
    with ThreadPoolExecutor(1) as tasks, closing(connect_database(house.settings, "test other")) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext('A'))", (LOCK,))
            rebuilt = tasks.submit(house.rebuild, span)
            until(lambda: _waiting(cursor) or rebuilt.done(), "the wait")
            assert not rebuilt.done()
        other.commit()
        assert rebuilt.result(60) == []


def _waiting(cursor):
    cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return cursor.fetchone()[0]


def test_all_of_a_commit_or_nothing_and_never_by_two_owners(house, settings):
    feed(house, each_second("A", ["5"] * 3))
    zombie = house.store
    other = House(house.settings, house.client, connect_database(settings, "other"))
    bars = house.rows("SELECT count(*) FROM processed_bars")
    house.store = zombie
    with pytest.raises(Fenced):
        house.take(each_second("A", ["7"] * 5, first_id=4, start_us=START_US + 3 * SECOND))
    assert house.rows("SELECT count(*) FROM processed_bars") == bars
    other.close()
    other.database.close()


def test_a_restart_goes_on_with_the_same_bars(house):
    trades = two_walks(120)
    for at in range(0, len(trades), 11):
        house.take(trades[at : at + 11])
        if at % 3 == 0:
            house.start()
    house.quiet(400)
    assert house.differences() == [] and house.rows("SELECT max(revision) FROM processed_bars") == [(0,)]


def test_numbers_beyond_63_bits_are_stored_exactly(house):
    house.take([Trade("A", n, START_US + n, "12345678901234567890.5", "99999999999999999.123456789", "b") for n in (1, 2)])
    house.quiet(400)
    volume, quote = house.rows("SELECT volume, quote_volume FROM processed_bars WHERE timeframe = '1s'")[0]
    assert volume == 2 * Decimal("99999999999999999.123456789")
    assert house.rows("SELECT sum(price * size) FROM raw_ticks") == [(quote,)] and house.differences() == []
