"""Pair rows as PostgreSQL has them: the same live or recomputed, and followed where a bar is revised."""

import math

import pytest

from aggregator.barstore import BarLeaves
from aggregator.compute import Computer
from aggregator.pairbook import compute_series, touched_until_us
from aggregator.pairtests import run_waiting_tests
from common.database import connect_database
from common.tasks import Task
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, each_second
from tests.aggregator.stored import KEY, SERIES, events_since, feed, recomputed, two_walks

PAIR_VALUES = """
SELECT timestamp, symbol1_price, symbol2_price, hedge_ratio, intercept, spread, rolling_mean, rolling_std, z_score, correlation,
    carried, has_gap FROM spread_analytics WHERE timeframe = '1s' ORDER BY timestamp
"""


def numbers(row: tuple) -> list[float]:
    return [math.nan if value is None else value for value in row[3:10]]


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.8])
def test_live_pair_rows_and_recomputed_ones_are_the_same(house, missing):
    trades = two_walks(150, missing=missing)
    for at in range(0, len(trades), 9):
        house.take(trades[at : at + 9])
        if at % 4 == 0:
            house.start()
    house.quiet(5)
    live = house.rows(PAIR_VALUES)
    assert len(live) > 20
    assert recomputed(house).changed == 0
    for first in range(0, 150, 13):
        assert recomputed(house, START_US + first * SECOND, START_US + (first + 20) * SECOND).changed == 0
    house.rows("TRUNCATE spread_analytics")
    written, again = recomputed(house), house.rows(PAIR_VALUES)
    assert written.rows == len(live) and [row[:3] + row[10:] for row in again] == [row[:3] + row[10:] for row in live]
    for one, other in zip(live, again, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-12, abs=1e-12 * 43_000, nan_ok=True)


def test_legs_that_seldom_meet_are_recomputed_with_the_window_they_had(house):
    """Long after the first common bar the legs alternate: a recomputation from here must not wait for the next common bar."""
    prices = [str(100 + n % 7) for n in range(90)]
    a = each_second("A", [p if n < 2 or n % 2 else "" for n, p in enumerate(prices)])
    b = each_second("B", [p if n < 2 or not n % 2 else "" for n, p in enumerate(reversed(prices))])
    feed(house, sorted(a + b, key=lambda trade: trade.event_us))
    house.quiet(5)
    assert {row[10] for row in house.rows(PAIR_VALUES)[10:]} == {"x", "y"}
    written = recomputed(house, START_US + 70 * SECOND)
    assert written.rows >= 15 and written.changed == 0


def test_a_pair_row_uses_nothing_that_comes_later(house):
    trades = two_walks(60)
    feed(house, [trade for trade in trades if trade.event_us < START_US + 40 * SECOND])
    house.quiet(0.5)
    before = house.rows(PAIR_VALUES)
    feed(house, [trade._replace(price="1") for trade in trades if trade.event_us >= START_US + 41 * SECOND])
    house.quiet(5)
    recomputed(house)
    assert len(before) > 20 and house.rows(PAIR_VALUES)[: len(before)] == before


def test_a_revised_close_reaches_every_row_that_carried_it(house):
    """B is quiet for longer than two windows: all rows of that time stand on the close that a late trade changes."""
    a = each_second("A", [str(100 + n % 9) for n in range(60)])
    b = each_second("B", [str(50 + n % 5) if n < 20 or n > 36 else "" for n in range(60)])
    feed(house, sorted(a + b, key=lambda trade: trade.event_us))
    house.take([Trade("B", 999, START_US + 19 * SECOND + 900_000, "77", "1", "b")])
    house.rebuild_marks()
    assert recomputed(house).changed == 0, "rows were left on the old close"
    assert house.rows("SELECT symbol2_price FROM spread_analytics WHERE timestamp = %s", from_us(START_US + 35 * SECOND)) == [
        (77,)
    ]
    with house.database.cursor() as cursor:
        assert touched_until_us(cursor, KEY, *[START_US + 19 * SECOND] * 2, 20 * SECOND) == START_US + 49 * SECOND
    assert events_since(house.client, "spread.revised") == 1 and events_since(house.client, "bar.revised") == 1


def test_rows_added_while_a_revision_is_recomputed_do_not_stay_on_the_old_windows(house, monkeypatch):
    """The aggregator closes two more bars between the recomputation and its reading of the windows."""
    trades = two_walks(60, missing=0.0)
    cut = [trade for trade in trades if trade.event_us < START_US + 40 * SECOND]
    rest = [trade for trade in trades if trade.event_us >= START_US + 40 * SECOND]
    feed(house, cut)
    house.take([Trade("A", 999, START_US + 36 * SECOND + 900_000, "50000", "1", "b")])
    aggregator = house.database
    house.database = connect_database(house.settings, "test tasks")
    passes = []

    def compute_then_bars(*args, **more):
        written = compute_series(*args, **more)
        if not passes:
            passes.append(written)
            tasks, house.database = house.database, aggregator
            house.take(rest[:4])
            house.database = tasks
        return written

    monkeypatch.setattr("aggregator.revised.compute_series", compute_then_bars)
    house.rebuild_marks()
    house.database.close()
    house.database = aggregator
    feed(house, rest[4:])
    house.quiet(5)
    assert passes and recomputed(house).changed == 0


def test_bars_that_are_rebuilt_while_rows_are_computed_are_read_again(house):
    feed(house, two_walks(60))
    house.quiet(5)
    rebuilt = []

    def rebuild_meanwhile(progress, written):
        if not rebuilt:
            house.take([Trade("A", 999, START_US + 30 * SECOND + 900_000, "50000", "1", "b")])
            rebuilt.extend(house.rebuild_marks(follow=False))

    compute_series(house.database, BarLeaves(), house.settings, SERIES, pause=rebuild_meanwhile)
    assert rebuilt and recomputed(house).changed == 0


def test_a_bar_with_a_hole_is_told_in_the_pair_row(house):
    a = [trade for trade in each_second("A", ["5"] * 12) if trade.trade_id != 6]
    feed(house, sorted(a + each_second("B", ["7"] * 12), key=lambda trade: trade.event_us))
    house.quiet(5)
    house.rebuild_marks()
    recomputed(house)
    told = {row[0]: row[11] for row in house.rows(PAIR_VALUES)}
    assert {at for at, gap in told.items() if gap} == {from_us(START_US + n * SECOND) for n in (4, 5, 6)}


def test_engle_granger_runs_on_the_window_and_its_block_carries_the_result(house):
    settings = house.settings.model_copy(update={"window": 40, "coint_every_bars": 10})
    house.settings = settings
    house.start()
    feed(house, two_walks(80, missing=0.0))
    house.quiet(5)
    assert run_waiting_tests(settings, house.database, 50) >= 4
    found = house.rows(
        "SELECT timestamp, adf_statistic, adf_pvalue, is_cointegrated, coint_at FROM spread_analytics"
        " WHERE hedge_ratio IS NOT NULL AND timeframe = '1s' ORDER BY timestamp"
    )
    assert all(row[4] is not None and row[4] <= row[0] for row in found), "a test of later prices is look-ahead"
    assert len({row[1] for row in found}) >= 4 and all(row[3] == (row[2] < 0.05) for row in found)


def test_the_tasks_give_what_is_stored_already(house):
    feed(house, two_walks(60))
    house.quiet(5)
    computer = Computer(house.settings, house.client, house.database)
    house.client.xadd("trades", {"rows": ""}, id=f"{house.now_ms}-0")
    house.client.xgroup_create("trades", "writers", id="$")

    def run(kind: str, **params) -> dict:
        return computer.run(Task("00000000-0000-0000-0000-000000000000", kind, {**params, "timeframe": "1s"}, 1, {}))

    counts = run("bars", symbol="A")
    assert counts["bars_changed"] == 0
    assert run("spread", symbol1="A", symbol2="B", window=5)["changed"] == 0
    assert run("stats", symbol="A")["rows"] > 20
    ranges = house.rows("SELECT high_low_range, volatility FROM price_stats WHERE timeframe = '1s' ORDER BY timestamp")
    assert ranges[0] == (0.0, None), "a zero is a zero, what is undefined is NULL"
    assert run("stats", symbol="NONE") == {"rows": 0, "changed": 0}
    assert run("spread", symbol1="A", symbol2="NONE", window=5)["rows"] == 0


def test_bars_that_a_task_changes_are_followed_by_their_pair_rows(house):
    feed(house, two_walks(60))
    house.quiet(5)
    house.client.xadd("trades", {"rows": ""}, id=f"{house.now_ms}-0")
    house.client.xgroup_create("trades", "writers", id="$")
    house.rows("UPDATE processed_bars SET close = close + 5 WHERE symbol = 'A' AND timeframe = '1s'")
    recomputed(house)
    task = Task("00000000-0000-0000-0000-000000000000", "bars", {"symbol": "A", "timeframe": "1s"}, 1, {})
    assert Computer(house.settings, house.client, house.database).run(task)["bars_changed"] > 20
    assert recomputed(house).changed == 0 and events_since(house.client, "bar.revised") > 20
