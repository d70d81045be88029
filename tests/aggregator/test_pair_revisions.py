"""A pair row never changes but by a revision that keeps what it was; results of tests are filled in where there were none."""

import pytest

from aggregator.barstore import BarLeaves
from aggregator.compute import Computer
from aggregator.legs import LegBar, Row
from aggregator.pairbook import compute_series, touched_until_us
from aggregator.pairmath import NAMES
from aggregator.pairrows import Made, carry_result, insert_rows
from aggregator.pairtests import run_waiting_tests
from aggregator.pairwindow import Values
from common.database import transaction
from common.pairseries import Series, SeriesKey, note, task_params
from common.tasks import Task
from common.trades import Trade, from_us, to_us
from tests.aggregator.house import SECOND, START_US, House
from tests.aggregator.test_pair_series import ab, checked, count, feed, registry, walks

ROW = "timestamp, hedge_ratio, spread, z_score, symbol1_price, revision, written_at"
ROWS = f"SELECT {ROW} FROM spread_analytics WHERE timeframe = '1s' AND method = 'ols' ORDER BY timestamp"  # noqa: S608
OLD = f"SELECT {ROW}, replaced_at FROM spread_revisions WHERE timeframe = '1s' AND method = 'ols' ORDER BY timestamp, revision"  # noqa: S608
TESTED = """
SELECT timestamp, coint_at, adf_statistic, adf_pvalue, is_cointegrated, hurst, variance_ratio, spread_adf_statistic, revision
FROM spread_analytics WHERE timeframe = '1s' AND method = %s AND hedge_ratio IS NOT NULL ORDER BY timestamp
"""


def late(house: House, second: int, symbol: str = "A", price: str = "43100", trade_id: int | None = None) -> None:
    """A trade of the past; ids go on, so that no hole opens."""
    trade_id = trade_id or house.rows("SELECT max(trade_id) + 1 FROM raw_ticks WHERE symbol = %s", symbol)[0][0]
    house.take([Trade(symbol, trade_id, START_US + second * SECOND + 900_000, price, "1", "b")])


def test_a_late_trade_revises_the_rows_that_stand_on_its_bar_and_no_other(house):
    feed(house, walks(60, missing=0.0))
    house.quiet(5)
    before = house.rows(ROWS)
    late(house, 30)
    assert house.rows(ROWS) == before, "a late trade waits for the rebuild"
    house.rebuild_marks()
    after, old = house.rows(ROWS), house.rows(OLD)
    changed = range(30, 39)  # its own row, and each in whose window, or whose spreads' windows, it is: 2 W - 1 of them
    assert [after[n][5] for n in range(60)] == [int(n in changed) for n in range(60)]
    assert [row for n, row in enumerate(after) if n not in changed] == [row for n, row in enumerate(before) if n not in changed]
    assert [row[:-1] for row in old] == [before[n] for n in changed], "revision 0 is kept as it was"
    assert all(row[-1] == after[n][6] > before[n][6] for n, row in zip(changed, old, strict=True))
    assert after[30][4] == 43100 and checked(house, ab()).changed == 0


def test_a_second_revision_keeps_the_first(house):
    feed(house, walks(40, missing=0.0))
    house.quiet(5)
    late(house, 20)
    house.rebuild_marks()
    late(house, 20, price="43200")
    house.rebuild_marks()
    kept = [(row[4], row[5]) for row in house.rows(OLD) if row[0] == from_us(START_US + 20 * SECOND)]
    now = [(row[4], row[5]) for row in house.rows(ROWS) if row[0] == from_us(START_US + 20 * SECOND)]
    assert [revision for _, revision in kept] == [0, 1] and kept[1][0] == 43100 and now == [(43200, 2)]


def test_computing_again_writes_nothing_where_nothing_is_other(house):
    feed(house, walks(60))
    house.quiet(5)
    before = house.rows(ROWS)
    assert compute_series(house.database, BarLeaves(), house.settings, ab()).changed == 0
    assert house.rows(ROWS) == before and house.rows("TABLE spread_revisions") == []


def test_a_row_whose_bars_are_gone_is_a_revision_and_counts_on_if_it_comes_back(house):
    feed(house, walks(40, missing=0.0))
    house.quiet(5)
    gone = house.rows("DELETE FROM raw_ticks WHERE timestamp >= %s AND timestamp < %s RETURNING *",
                      from_us(START_US + 20 * SECOND), from_us(START_US + 21 * SECOND))  # fmt: skip
    for symbol in "AB":
        house.rows(
            "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
            " VALUES (%s, %s, %s, 'trades', 0, 0, 'a test')", symbol, START_US + 20 * SECOND, START_US + 21 * SECOND - 1,
        )  # fmt: skip
    house.rebuild_marks()
    assert len(gone) == 2 and count(house, ab()) == 39 and checked(house, ab()).changed == 0
    assert house.rows("SELECT revision FROM spread_revisions WHERE timestamp = %s", from_us(START_US + 20 * SECOND)) == [(0,)]
    late(house, 20, "A", "43001")
    late(house, 20, "B", "2300")
    house.rebuild_marks()
    back = [row[5] for row in house.rows(ROWS) if row[0] == from_us(START_US + 20 * SECOND)]
    assert back == [1] and checked(house, ab()).changed == 0


def test_a_filter_is_revised_to_the_end_of_its_day(house):
    kalman = ab("kalman")
    registry(house, kalman)
    feed(house, walks(60, missing=0.0))
    house.quiet(5)
    late(house, 30)
    house.rebuild_marks()
    revisions = [row[0] for row in house.rows("SELECT revision FROM spread_analytics WHERE method = 'kalman' ORDER BY timestamp")]
    assert revisions == [0] * 30 + [1] * 30 and checked(house, kalman).changed == 0
    feed(house, walks(20, seed=9, missing=0.0, start_us=START_US + 65 * SECOND))
    house.quiet(5)
    assert checked(house, kalman).changed == 0, "the live filter goes on from the revised state"


def test_rows_of_a_series_that_is_not_live_follow_rebuilt_bars_too_and_get_no_others(house):
    feed(house, walks(60, missing=0.0))
    house.quiet(5)
    other = ab("tls+log", 7)
    span = {"start_us": START_US + 20 * SECOND, "end_us": START_US + 45 * SECOND}
    task = Task("00000000-0000-0000-0000-000000000000", "spread", task_params(other, **span), 1, {})
    assert Computer(house.settings, house.client, house.database).run(task) == {"rows": 25, "changed": 25}
    live = house.rows(ROWS)
    late(house, 30)
    house.rebuild_marks()
    assert count(house, other) == 25
    assert checked(house, other, span["start_us"], span["end_us"] - 1).changed == 0
    assert house.rows("SELECT count(*) FROM spread_revisions WHERE method = 'tls+log'") == [(13,)]
    assert len(house.rows(ROWS)) == len(live)


def test_between_two_stretches_that_were_computed_a_rebuilt_bar_makes_no_rows(house):
    feed(house, walks(80, missing=0.0))
    house.quiet(5)
    other, spans = ab("tls", 7), ((10, 20), (50, 60))
    for first, end in spans:
        last_us = START_US + end * SECOND - 1
        compute_series(house.database, BarLeaves(), house.settings, other, START_US + first * SECOND, last_us)
    with house.database, house.database.cursor() as cursor:
        note(cursor, other)
    late(house, 17)
    house.rebuild_marks()
    assert count(house, other) == 20
    assert house.rows("SELECT count(*) FROM spread_revisions WHERE method = 'tls'") == [(3,)]


def test_a_change_is_followed_though_a_newer_bar_has_no_row_yet(house):
    feed(house, walks(40, missing=0.0))
    house.quiet(5)
    with house.database, house.database.cursor() as cursor:
        ahead_us = START_US + 9_999 * SECOND
        assert touched_until_us(cursor, ab().key, START_US + 30 * SECOND, ahead_us, SECOND) == START_US + 39 * SECOND
        assert touched_until_us(cursor, ab().key, START_US + 30 * SECOND, START_US + 30 * SECOND, 0) == START_US + 39 * SECOND
        assert touched_until_us(cursor, ab().key, START_US + 10 * SECOND, START_US + 10 * SECOND, 0) == START_US + 20 * SECOND
        assert touched_until_us(cursor, ab().key, ahead_us, ahead_us, SECOND) is None


def test_a_computation_leaves_rows_of_other_parameters_alone(house):
    feed(house, walks(60))
    house.quiet(5)
    before = house.rows("SELECT * FROM spread_analytics ORDER BY timestamp, timeframe")
    for series in (ab("ols", 9), ab("kalman"), ab("ols", 5, "1m"), Series(SeriesKey("B_A", "1s", 5), ("B", "A"))):
        compute_series(house.database, BarLeaves(), house.settings, series)
    mine = "symbol_pair = 'A_B' AND window_bars = 5 AND method = 'ols'"
    assert house.rows(f"SELECT * FROM spread_analytics WHERE {mine} ORDER BY timestamp, timeframe") == before  # noqa: S608
    for window, method in ((9, "ols"), (5, "kalman")):
        assert count(house, ab(method, window)) == count(house, ab())


#  Tests off the hot path ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ols", "ols+log", "kalman+log"])
def test_each_series_is_tested_by_its_own_method_on_the_window_of_the_first_row_of_a_block(house, method):
    import numpy as np

    from aggregator.pairmath import pair_tests

    house.settings = house.settings.model_copy(update={"coint_every_bars": 10, "pairs": (f"A_B@{method}:40",)})
    house.start()
    feed(house, walks(110, missing=0.0), restarts=4)
    house.quiet(5)
    assert run_waiting_tests(house.settings, house.database, 100) >= 7
    found = house.rows(TESTED, method)
    stored = house.rows(
        "SELECT timestamp, symbol1_price::float8, symbol2_price::float8, spread FROM spread_analytics"
        " WHERE timeframe = '1s' ORDER BY timestamp"
    )
    at = {row[0]: n for n, row in enumerate(stored)}
    blocks = sorted({row[1] for row in found})
    assert len(blocks) >= 7
    for start in blocks:
        y, x, spreads = np.array([row[1:] for row in stored[at[start] - 39 : at[start] + 1]], dtype=float).T
        expected = pair_tests(np.log(y), np.log(x), spreads) if "log" in method else pair_tests(y, x, spreads)
        rows = [row for row in found if row[1] == start]
        told = {tuple(row[2:8]) for row in rows}
        assert told == {(
            expected.coint_statistic, expected.coint_pvalue, expected.is_cointegrated, expected.hurst, expected.variance_ratio,
            expected.spread_adf_statistic,
        )}  # fmt: skip
        assert all(row[0] >= start and row[0].timestamp() // 10 == start.timestamp() // 10 for row in rows), "no look-ahead"
        assert start == rows[0][0]
    assert {row[8] for row in found} == {0}, "a fill of NULL is no revision"


def test_a_revised_bar_has_its_tests_made_again_and_the_old_results_kept(house):
    house.settings = house.settings.model_copy(update={"coint_every_bars": 10, "window": 40})
    house.start()
    feed(house, walks(80, missing=0.0))
    house.quiet(5)
    run_waiting_tests(house.settings, house.database, 100)
    before = {row[0]: row for row in house.rows(TESTED, "ols")}
    late(house, 41)
    house.rebuild_marks()
    waiting = house.rows("SELECT timestamp FROM pair_tests WHERE tested_at IS NULL ORDER BY 1")
    again = [from_us(START_US + second * SECOND) for second in (50, 60, 70)]
    assert [row[0] for row in waiting if row[0] in before][: len(again)] == again
    run_waiting_tests(house.settings, house.database, 100)
    after = {row[0]: row for row in house.rows(TESTED, "ols")}
    for at, row in after.items():
        if row[1] in again:
            assert row[2] != before[at][2] and row[8] >= 1
        elif at < from_us(START_US + 41 * SECOND):
            assert row == before[at]
    kept = house.rows("SELECT timestamp, adf_statistic FROM spread_revisions WHERE revision = 0 AND coint_at IS NOT NULL")
    assert kept and all(statistic == before[at][2] for at, statistic in kept)
    assert all(row[1] is not None and row[1] <= row[0] for row in after.values())


def test_a_computed_history_asks_for_the_tests_that_live_rows_have(house):
    house.settings = house.settings.model_copy(update={"coint_every_bars": 10, "window": 20})
    house.start()
    feed(house, walks(80, missing=0.0))
    house.quiet(5)
    asked = "SELECT block_us, timestamp FROM pair_tests WHERE timeframe = '1s' AND method = %s ORDER BY 1"
    live = house.rows(asked, "ols")
    compute_series(house.database, BarLeaves(), house.settings, ab("tls", 20), START_US + 45 * SECOND)
    assert house.rows(asked, "tls") == [row for row in live if row[1] >= from_us(START_US + 45 * SECOND)]
    compute_series(house.database, BarLeaves(), house.settings, ab("tls", 20))
    assert house.rows(asked, "tls") == live


def test_no_row_carries_the_result_of_a_test_that_came_after_it(house):
    """Rows that are made late, before the one that was tested in their block, must not know what it said."""
    block = 60 * SECOND
    block_us = START_US - START_US % block

    def made(second: int) -> Made:
        legs = tuple(LegBar(START_US + second * SECOND, "2", 2.0, False) for _ in range(2))
        return Made(SeriesKey("A_B", "1s", 5), Row(START_US + second * SECOND, legs, ""), Values((1.0,) * len(NAMES)), block_us)

    def insert(*seconds: int) -> None:
        with transaction(house.database), house.database.cursor() as cursor:
            insert_rows(cursor, [made(second) for second in seconds])

    def tests() -> list[int | None]:
        """Of each row, the second of the test whose result it carries."""
        found = house.rows("SELECT coint_at, adf_pvalue FROM spread_analytics ORDER BY timestamp")
        assert all((at is None) == (value is None) for at, value in found)
        return [at and (to_us(at) - START_US) // SECOND for at, _ in found]

    house.leaves.ensure(house.database, [START_US])
    insert(3, 4)
    house.rows("UPDATE pair_tests SET tested_at = now(), pvalue = 0.5")
    insert(1, 5)
    assert tests() == [None, None, None, 3], "rows 1, 3, 4, 5: those that were there wait for the result to be carried"
    with transaction(house.database), house.database.cursor() as cursor:
        carry_result(cursor, SeriesKey("A_B", "1s", 5), block_us, block)
    assert tests() == [None, 3, 3, 3]
