"""Series of pair rows that come and go while it runs; of every method, live rows are those of a recomputation (law 4)."""

import random
from collections.abc import Sequence

import pytest

from aggregator.barstore import BarLeaves
from aggregator.compute import Computer
from aggregator.core import Core
from aggregator.pairbook import compute_series
from aggregator.store import BarsStore
from common.pairseries import Series, SeriesKey, add, remove, task_params
from common.streams import shard_of
from common.tasks import Task, claim_task
from common.trades import Trade
from tests.aggregator.house import SECOND, START_US, House, each_second

METHODS = (
    "ols", "ols+log", "ols+prior", "ols+log+prior+strict", "tls", "tls+log", "huber", "huber+log", "kalman", "kalman+log+prior",
    "kalman+strict",
)  # fmt: skip
#: Twelve minutes before midnight UTC.
EVENING_US = START_US + (12 * 3600 - 90) * SECOND
COUNT = """
SELECT count(*), max(revision) FROM spread_analytics
WHERE (symbol_pair, timeframe, window_bars, method) = (%s, %s, %s, %s)
"""


def walks(seconds: int, symbols: str = "AB", seed: int = 3, missing: float = 0.2, start_us: int = START_US) -> list[Trade]:
    """Walks that go together, a trade a second and symbol, with holes; in time."""
    rng, trades = random.Random(seed), []
    common = [0]
    for _ in range(seconds):
        common.append(common[-1] + rng.randint(-40, 40))
    for number, symbol in enumerate(symbols):
        level = (43_000_00, 2_300_00, 150_00)[number]
        prices = [
            "" if rng.random() < missing else f"{(level + move // (number + 1) + rng.randint(-20, 20)) / 100:.2f}"
            for move in common[1:]
        ]  # fmt: skip
        trades += each_second(symbol, prices, start_us=start_us)
    return sorted(trades, key=lambda trade: trade.event_us)


def feed(house: House, trades: Sequence[Trade], step: int = 7, restarts: int = 0) -> None:
    for number, at in enumerate(range(0, len(trades), step)):
        house.take(trades[at : at + step])
        if restarts and number % restarts == 0:
            house.start()


def registry(house: House, *series: Series) -> None:
    """Add series by request."""
    for one in series:
        with house.database, house.database.cursor() as cursor:
            add(cursor, one)


def ab(method: str = "ols", window: int = 5, timeframe: str = "1s") -> Series:
    return Series(SeriesKey("A_B", timeframe, window, method), ("A", "B"))


def checked(house: House, series: Series, first_us: int | None = None, last_us: int | None = None):
    return compute_series(house.database, BarLeaves(), house.settings, series, first_us, last_us, check=True)


def count(house: House, series: Series) -> int:
    return house.rows(COUNT, *series.key)[0][0]


def run_tasks(house: House) -> int:
    """What the tasks do with what is queued for pairs."""
    computer, done = Computer(house.settings, house.client, house.database), 0
    while task := claim_task(house.database, ["spread"]):
        computer.run(task)
        house.rows("UPDATE tasks SET state = 'done' WHERE task_id = %s", task.task_id)
        done += 1
    return done


#  Law 4 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_live_rows_of_every_method_are_those_of_a_recomputation(house, method):
    """With holes in both legs, a missing id, restarts, and midnight in between; from wherever it is recomputed."""
    house.settings = house.settings.model_copy(update={"coint_every_bars": 1, "stale_leg_s": 4})
    house.start()
    series = ab(method, 15)
    registry(house, series)
    trades = [trade for trade in walks(180, start_us=EVENING_US) if trade[:2] not in (("A", 40), ("B", 90))]
    feed(house, trades, restarts=5)
    house.quiet(5)
    house.rebuild_marks()
    found = checked(house, series)
    assert found.rows > 120 and (found.changed, found.examples) == (0, [])
    for first in range(20, 170, 31):
        part = checked(house, series, EVENING_US + first * SECOND, EVENING_US + (first + 20) * SECOND)
        assert 0 < part.rows <= 21 and part.examples == []


def test_a_check_tells_what_is_other_missing_or_invented_and_writes_nothing(house):
    feed(house, walks(60, missing=0.0))
    house.quiet(5)
    for second, change in (
        (30, "UPDATE spread_analytics SET z_score = z_score + 1e-9"), (31, "UPDATE spread_analytics SET carried = 'x'"),
        (40, "DELETE FROM spread_analytics"), (41, "UPDATE spread_analytics SET timestamp = timestamp + '500 ms'"),
    ):  # fmt: skip
        house.rows(f"{change} WHERE timeframe = '1s' AND timestamp = to_timestamp(%s)", START_US // SECOND + second)
    found = checked(house, ab())
    assert found.changed == 5 and found.rows == 60
    told = "\n".join(found.examples)
    assert "30.000000Z: z_score" in told and "31.000000Z: carried x is " in told and "40.000000Z: is missing" in told
    assert "41.500000Z: no bars say so" in told
    assert checked(house, ab()).changed == 5, "a check wrote something"


def test_a_history_that_was_computed_is_the_one_that_is_made_live(house):
    """A day's rows do not depend on where the series began: its first windows are filled by the bars before."""
    feed(house, walks(120))
    house.quiet(5)
    late = ab("kalman", 9)
    first_us = START_US + 60 * SECOND
    compute_series(house.database, BarLeaves(), house.settings, late, first_us, None)
    rows = house.rows("SELECT timestamp, z_score FROM spread_analytics WHERE window_bars = 9 ORDER BY timestamp")
    assert rows[0][1] is not None, "the first row has its window"
    assert checked(house, late, first_us).changed == 0
    whole = compute_series(house.database, BarLeaves(), house.settings, late)
    assert whole.changed == whole.rows - len(rows)


#  Coming and going --------------------------------------------------------------------------------------------------


def test_a_series_that_is_added_while_it_runs_has_its_past_at_once_and_goes_on(house):
    trades = walks(200)
    feed(house, trades[:240])
    added = ab("tls+log", 20)
    registry(house, added)
    house.take(trades[240:243])
    past = count(house, added)
    assert past > 100
    events = [event for event in house.events if event.event == "spread.revised"]
    assert len(events) == 1 and events[0].body["method"] == "tls+log" and events[0].body["changed"] <= past
    feed(house, trades[243:])
    house.quiet(5)
    told = [event.body for event in house.events if event.event == "spread" and event.body["method"] == "tls+log"]
    assert len(told) >= count(house, added) - past and told[-1]["revision"] == 0 and told[-1]["half_life"] is not None
    assert {"return_correlation", "innovation_z", "window", "carried", "has_gap", "intercept"} <= told[-1].keys()
    assert checked(house, added).changed == 0
    assert run_tasks(house) >= 1 and house.rows(COUNT, *added.key)[0][1] == 0


def test_an_old_past_is_filled_by_the_task_and_the_aggregator_makes_no_more_than_its_share(house, monkeypatch):
    monkeypatch.setattr("aggregator.pairlive.FILL_ROWS", 30)
    trades = walks(200, missing=0.0)
    feed(house, trades[:-8])
    added = ab("ols", 11)
    registry(house, added)
    feed(house, trades[-8:])
    house.quiet(5)
    assert 30 <= count(house, added) <= 70
    run_tasks(house)
    assert count(house, added) == 200 and checked(house, added).changed == 0
    assert house.rows(COUNT, *added.key)[0][1] == 0, "rows that were there were written again"


def test_a_series_that_is_too_dear_to_start_waits_for_its_task(house, monkeypatch):
    monkeypatch.setattr("aggregator.pairlive.START_COST", 20_000)
    monkeypatch.setattr("aggregator.pairstage.TRY_AGAIN_S", 0.0)
    trades = walks(200, missing=0.0)
    feed(house, trades[:320])
    added = ab("huber", 20)
    registry(house, added)
    feed(house, trades[320:340])
    assert count(house, added) == 0
    run_tasks(house)
    feed(house, trades[340:])
    house.quiet(5)
    assert count(house, added) == 200 and checked(house, added).changed == 0


def test_removing_keeps_the_rows_and_stops_new_ones_also_after_a_start(house):
    trades = walks(150, missing=0.0)
    feed(house, trades[:100])
    with house.database, house.database.cursor() as cursor:
        assert remove(cursor, "A_B", {"timeframe": "1s"}) == [ab().key]
        assert remove(cursor, "A_B", {"timeframe": "1s"}) == []
    kept = count(house, ab())
    feed(house, trades[100:150])
    house.start()
    feed(house, trades[150:200])
    assert count(house, ab()) == kept > 40
    assert house.rows("SELECT removed_at FROM pair_series WHERE timeframe = '1m'") == [(None,)]
    registry(house, ab())
    feed(house, trades[200:])
    house.quiet(5)
    assert count(house, ab()) == 150 and checked(house, ab()).changed == 0


def test_a_series_that_the_settings_no_longer_have_is_not_live_unless_requested(house):
    trades = walks(90, missing=0.0)
    feed(house, trades[:40])
    registry(house, ab("tls"))
    house.settings = house.settings.model_copy(update={"pairs": ()})
    house.start()
    feed(house, trades[40:80])
    before = count(house, ab())
    assert count(house, ab("tls")) > before
    house.settings = house.settings.model_copy(update={"pairs": ("A_B@ols:5",)})
    house.start()
    feed(house, trades[80:])
    house.quiet(5)
    assert count(house, ab()) == count(house, ab("tls")) == 90 and checked(house, ab()).changed == 0


def test_a_pair_of_the_settings_may_have_its_own_method_and_window(house):
    house.settings = house.settings.model_copy(update={"pairs": ("A_B", "A_B@kalman+log:9", "B_A@tls")})
    house.start()
    feed(house, walks(60))
    house.quiet(5)
    found = house.rows("SELECT DISTINCT symbol_pair, window_bars, method FROM spread_analytics ORDER BY 1, 2, 3")
    assert found == [("A_B", 5, "ols"), ("A_B", 9, "kalman+log"), ("B_A", 5, "tls")]


def test_many_series_share_their_slots_and_stay_apart(house, monkeypatch):
    """More series than slots, of several methods; some go and their slots are taken by others."""
    monkeypatch.setattr("aggregator.pairlive._BLOCK_SLOTS", 1)
    house.settings = house.settings.model_copy(update={"pairs": ("A_B", "B_A", "A_C", "C_A", "B_C"), "symbols": ("A", "B", "C")})
    house.start()
    trades = walks(120, "ABC")
    feed(house, trades[:150])
    with house.database, house.database.cursor() as cursor:
        remove(cursor, "B_A", {})
        remove(cursor, "A_C", {})
    feed(house, trades[150:160])
    for pair in ("C_B", "A_C"):
        registry(house, Series(SeriesKey(pair, "1s", 5, "ols"), tuple(pair.split("_"))))
    feed(house, trades[160:])
    house.quiet(5)
    for pair in ("A_B", "C_A", "B_C", "C_B", "A_C"):
        found = checked(house, Series(SeriesKey(pair, "1s", 5), tuple(pair.split("_"))))
        assert found.rows > 80 and found.changed == 0, pair


@pytest.mark.parametrize("method", ["ols", "johansen"])
def test_baskets_are_live_as_they_are_recomputed(house, method):
    basket = Series(SeriesKey("A_B_C", "1s", 15, method), ("A", "B", "C"))
    house.settings = house.settings.model_copy(update={"pairs": (), "symbols": ("A", "B", "C")})
    house.start()
    registry(house, basket)
    feed(house, walks(100, "ABC"), restarts=9)
    house.quiet(5)
    found = checked(house, basket)
    assert found.rows > 60 and found.changed == 0, found.examples
    ratios, prices, first, y, spread, a = house.rows(
        "SELECT hedge_ratios, leg_prices, hedge_ratio, symbol1_price, spread, intercept FROM spread_analytics"
        " WHERE method = %s AND rolling_std IS NOT NULL ORDER BY timestamp DESC LIMIT 1", method,
    )[0]  # fmt: skip
    assert len(ratios) == 2 and ratios[0] == first and prices[0] == y
    x1, x2 = map(float, prices[1:])
    assert spread == pytest.approx(float(y) - a - ratios[0] * x1 - ratios[1] * x2, abs=1e-6)
    task = Task("00000000-0000-0000-0000-000000000000", "spread", task_params(basket, check=True), 1, {})
    assert Computer(house.settings, house.client, house.database).run(task) == {"rows": found.rows, "changed": 0, "examples": []}


class ShardHouse(House):
    """A house whose aggregator owns one shard."""

    shard = 0

    def start(self) -> None:
        self.core = Core(self.settings.timeframes, self.settings.lateness_ms)
        self.store = BarsStore(self.settings, self.database, self.shard, self.core)
        self.store.take_over()
        self.store.load_pairs()


def test_a_leg_of_another_shard_comes_from_what_that_shard_has_committed(house):
    names = [f"S{number}" for number in range(20)]
    y, x = next(name for name in names if shard_of(name, 2) == 0), next(name for name in names if shard_of(name, 2) == 1)
    series = Series(SeriesKey(f"{y}_{x}", "1s", 5, "ols"), (y, x))
    settings = house.settings.model_copy(update={"shards": 2, "symbols": (y, x), "pairs": (f"{y}_{x}",)})
    first = ShardHouse(settings, house.client, house.database)
    ShardHouse.shard = 1
    second = ShardHouse(settings, house.client, house.database)
    ShardHouse.shard = 0
    trades = [trade._replace(symbol=y if trade.symbol == "A" else x) for trade in walks(100)]
    for at in range(0, len(trades), 9):
        for one in (first, second):
            mine = [trade for trade in trades[at : at + 9] if shard_of(trade.symbol, 2) == (one is second)]
            if mine:
                one.take(mine)
    for _ in range(2):
        second.quiet(5)
        first.quiet(5)
    found = checked(first, series)
    assert found.rows > 70 and found.changed == 0, found.examples
    first.close()
    second.close()
