"""A pair row that was gone and is made again counts on from what is kept of it, whoever makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, pairwise

import pytest

from aggregator.pairtests import run_waiting_tests
from aggregator.tasks import TaskWorker
from common.database import connect_database
from common.trades import Trade, from_us, to_us
from tests.aggregator.house import SECOND, START_US, House, each_second
from tests.aggregator.test_pair_series import ab, checked

GONE = range(10, 14)
TENTH = from_us(START_US + 10 * SECOND)
MINE = "timeframe = '1s' AND method = 'ols'"
VERSIONS = f"""
SELECT timestamp, revision, written_at, replaced_at FROM spread_revisions WHERE {MINE} UNION ALL
SELECT timestamp, revision, written_at, 'infinity' FROM spread_analytics WHERE {MINE} ORDER BY timestamp, written_at, replaced_at
"""  # noqa: S608
AS_OF = f"""
SELECT timestamp, revision FROM ({VERSIONS}) AS versions WHERE written_at <= %s AND replaced_at > %s ORDER BY timestamp
"""  # noqa: S608


def both(first: int, end: int) -> list[Trade]:
    """Trades of A and B of these seconds."""
    prices = {"A": [str(100 + n) for n in range(30)], "B": [str(50 + n % 3) for n in range(30)]}
    return [trade for symbol in prices for trade in each_second(symbol, prices[symbol])[first:end]]


def late(house: House, number: int) -> None:
    """A trade of A in second 11, from elsewhere: its id tells of no hole."""
    house.take([Trade("A", -number, START_US + 11 * SECOND + 500_000 + number, str(7 * number), "1", "b")], "api")


def lose(house: House, tested: bool = False) -> None:
    """Ten seconds are stored, four are seen (and tested) and forgotten by the stream before a writer comes: their rows go."""
    for n in range(10):
        house.take(both(n, n + 1))
    house.see(both(10, 14))
    house.quiet(2)
    if tested:
        run_waiting_tests(house.settings, house.database, 100)
    house.doubt()
    house.trust()
    house.rebuild_marks()


def come_again(house: House) -> None:
    """What was forgotten comes again, and then what follows."""
    house.take(both(10, 14))
    house.rebuild_marks()
    for n in range(14, 20):
        house.take(both(n, n + 1))
    house.quiet(2)
    house.rebuild_marks()


def now(house: House) -> datetime:
    return house.rows("SELECT clock_timestamp()")[0][0]


def revisions(house: House, at: datetime | None = None) -> dict[int, int]:
    """By second the revision that is stored, or that was at a time."""
    at = at or now(house)
    found = house.rows(AS_OF, at, at)
    assert len({row[0] for row in found}) == len(found), "one version of each row"
    return {(to_us(timestamp) - START_US) // SECOND: revision for timestamp, revision in found}


def kept_of(house: House, second: int) -> list[int]:
    """Revisions that are kept of the row of a second."""
    kept = f"SELECT revision FROM spread_revisions WHERE {MINE} AND timestamp = %s ORDER BY 1"  # noqa: S608
    return [row[0] for row in house.rows(kept, from_us(START_US + second * SECOND))]


def assert_histories(house: House) -> None:
    """Each row's versions count from 0 in the order of time, and none begins before the one before it has ended."""
    for _, versions in groupby(house.rows(VERSIONS), key=lambda row: row[0]):
        of_row = list(versions)
        assert [row[1] for row in of_row] == list(range(len(of_row)))
        assert all(before[3] <= after[2] for before, after in pairwise(of_row))


@pytest.mark.parametrize("restart", ["none", "while it is gone", "before it is made again"])
def test_a_row_that_comes_back_at_a_start_of_its_series_counts_on_and_can_be_revised(house, restart):
    lose(house)
    gone_at = now(house)
    if restart == "while it is gone":
        house.start()
    house.take(both(10, 14))
    house.rebuild_marks()
    if restart == "before it is made again":
        house.start()
    for n in range(14, 20):
        house.take(both(n, n + 1))
    house.quiet(2)
    house.rebuild_marks()
    told_apart = {n: int(n in GONE) for n in range(20)} | {9: 2}  # 9: for a while there was a gap in its second
    assert revisions(house) == told_apart
    back_at = now(house)
    for number in (1, 2):
        late(house, number)
        house.rebuild_marks()
    changed = {n: 2 + (n in GONE) for n in range(11, 20)}
    assert revisions(house) == {**told_apart, **changed}
    assert revisions(house, gone_at) == {**dict.fromkeys(range(9), 0), 9: 1}
    assert revisions(house, back_at) == told_apart
    assert_histories(house)
    assert checked(house, ab()).changed == 0


def test_live_events_tell_the_revision_of_a_row_that_comes_back(house):
    lose(house)
    house.events.clear()
    come_again(house)
    told = [event.body for event in house.events if event.event == "spread" and event.body["timeframe"] == "1s"]
    assert [body["revision"] for body in told] == [1] * 4 + [0] * 6
    assert [revisions(house)[n] for n in range(10, 20)] == [body["revision"] for body in told]


def test_rows_of_a_series_that_is_added_again_count_on_too(house):
    """Its start fills them in from the bars, for none of its rows is left to go on from."""
    for n in range(10):
        house.take(both(n, n + 1))
    house.quiet(2)
    house.rows(f"INSERT INTO spread_revisions SELECT s.*, now() FROM spread_analytics s WHERE {MINE}")  # noqa: S608
    house.rows(f"DELETE FROM spread_analytics WHERE {MINE}")  # noqa: S608
    house.start()
    for n in range(10, 15):
        house.take(both(n, n + 1))
    house.quiet(2)
    assert revisions(house) == {n: int(n < 10) for n in range(15)}
    assert_histories(house)


def test_a_row_that_comes_back_begins_no_sooner_than_what_it_was_had_ended(house):
    """A commit that has begun before the row went writes it after that: the clock of its transaction is behind."""
    lose(house)
    house.rows(f"UPDATE spread_revisions SET replaced_at = now() + interval '1 hour' WHERE {MINE} AND timestamp >= %s", TENTH)  # noqa: S608
    come_again(house)
    assert_histories(house)


def test_the_test_of_a_row_that_comes_back_is_made_again(house):
    house.settings = house.settings.model_copy(update={"coint_every_bars": 10})
    house.start()
    lose(house, tested=True)
    come_again(house)
    tested_on = f"SELECT DISTINCT coint_at FROM spread_analytics WHERE {MINE} AND timestamp >= %s"  # noqa: S608
    assert house.rows(tested_on, TENTH) == [(None,)], "what is kept of it was tested, not it"
    run_waiting_tests(house.settings, house.database, 100)
    assert house.rows(tested_on, TENTH) == [(TENTH,)]


def test_a_row_at_the_end_of_its_series_is_written_without_a_look_at_what_is_kept(house):
    lose(house)
    come_again(house)
    late(house, 1)
    house.rebuild_marks()
    house.take(both(20, 23))  # the series starts again, and is past all that is kept of it
    with locked(house, "spread_revisions"):
        house.take(both(23, 28))
    assert max(revisions(house)) >= 25


@contextmanager
def locked(house: House, table: str) -> Iterator[None]:
    """Nobody reads a table meanwhile: whoever tries fails."""
    other = connect_database(house.settings, "test lock")
    try:
        with other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        house.rows("SET lock_timeout = '100ms'")
        yield
    finally:
        other.close()
        house.rows("RESET lock_timeout")


#  What older versions have left -----------------------------------------------------------------------------------------


@pytest.fixture
def twice_zero(house) -> House:
    """Rows that came back as revision 0, though a revision 0 of theirs is kept."""
    lose(house)
    come_again(house)
    house.rows(f"UPDATE spread_analytics SET revision = 0 WHERE {MINE}")  # noqa: S608
    return house


def test_tasks_follow_a_rebuilt_bar_below_a_row_that_was_revision_0_twice(twice_zero):
    house = twice_zero
    late(house, 1)
    house.rebuild_marks(follow=False)
    assert house.rows("SELECT count(*) > 0 FROM rebuilt_bars") == [(True,)]
    TaskWorker(house.settings, house.database).turn()
    assert house.rows("SELECT count(*) FROM rebuilt_bars") == [(0,)]
    assert revisions(house) == {**dict.fromkeys(range(11), 0), **{n: 1 + (n in GONE) for n in range(11, 20)}}
    assert checked(house, ab()).changed == 0
    late(house, 2)
    house.rebuild_marks()
    assert checked(house, ab()).changed == 0
    assert kept_of(house, 11) == [0, 1, 2], "the second revision 0 is the first one's follower"


def test_a_row_that_was_revision_0_twice_can_go_again(twice_zero):
    house, second = twice_zero, from_us(START_US + 11 * SECOND)
    house.rows("DELETE FROM raw_ticks WHERE timestamp >= %s AND timestamp < %s", second, from_us(START_US + 12 * SECOND))
    for symbol in "AB":
        house.rows(
            "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
            " VALUES (%s, %s, %s, 'trades', 0, 0, 'a test')", symbol, START_US + 11 * SECOND, START_US + 12 * SECOND - 1,
        )  # fmt: skip
    house.rebuild_marks()
    assert 11 not in revisions(house)
    assert kept_of(house, 11) == [0, 1]


def test_a_row_that_was_revision_0_twice_takes_another_result_of_its_test(twice_zero):
    house = twice_zero
    run_waiting_tests(house.settings, house.database, 100)
    other = f"UPDATE spread_analytics SET adf_pvalue = 0.5, coint_at = timestamp WHERE {MINE} AND hedge_ratio IS NOT NULL"  # noqa: S608
    house.rows(other)
    house.rows("UPDATE pair_tests SET tested_at = NULL")
    assert run_waiting_tests(house.settings, house.database, 100) > 0
    assert {n: revision for n, revision in revisions(house).items() if n in GONE} == dict.fromkeys(GONE, 2)
    assert_histories(house)
