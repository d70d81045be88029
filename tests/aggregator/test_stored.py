"""Bars, pair rows and alerts as PostgreSQL has them: revised where a value changes, the same live or recomputed."""

import math
import random
from decimal import Decimal

import pytest
from psycopg2.extras import Json

from aggregator.barstore import BarLeaves
from aggregator.compute import Computer
from aggregator.pairbook import compute_series, touched_until_us
from aggregator.pairtests import run_waiting_tests
from aggregator.rebuild import Span
from common.database import connect_database
from common.errors import Fenced
from common.events import Event
from common.pairseries import Series, SeriesKey
from common.streams import LIVE
from common.tasks import Task
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, House, each_second

KEY = SeriesKey("A_B", "1s", 5)
SERIES = Series(KEY, ("A", "B"))
BAR = "SELECT high, tick_count, revision, status FROM processed_bars WHERE symbol = 'A' AND timeframe = %s ORDER BY timestamp"
PAIR_VALUES = """
SELECT timestamp, symbol1_price, symbol2_price, hedge_ratio, intercept, spread, rolling_mean, rolling_std, z_score, correlation,
    carried, has_gap FROM spread_analytics WHERE timeframe = '1s' ORDER BY timestamp
"""


def two_walks(seconds: int, seed: int = 1, missing: float = 0.2) -> list[Trade]:
    """A and B by the second, in time, with holes in both."""
    rng, trades = random.Random(seed), []
    for symbol, level in (("A", 43_000_00), ("B", 2_300_00)):
        prices = []
        for _ in range(seconds):
            level += rng.randint(-50, 50)
            prices.append("" if rng.random() < missing else f"{level // 100}.{level % 100:02d}")
        trades += each_second(symbol, prices)
    return sorted(trades, key=lambda trade: trade.event_us)


def feed(house: House, trades: list[Trade], step: int = 7) -> None:
    for at in range(0, len(trades), step):
        house.take(trades[at : at + step])


def events_since(client, event: str) -> int:
    return sum(fields[b"event"].decode() == event for _, fields in client.xrange(LIVE))


#  Bars --------------------------------------------------------------------------------------------------------------


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


#  Pairs -------------------------------------------------------------------------------------------------------------


def numbers(row: tuple) -> list[float]:
    return [math.nan if value is None else value for value in row[3:10]]


def recomputed(house: House, first_us: int | None = None, last_us: int | None = None):
    return compute_series(house.database, BarLeaves(), house.settings, SERIES, first_us, last_us)


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


#  Tasks -------------------------------------------------------------------------------------------------------------


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


#  Alerts ------------------------------------------------------------------------------------------------------------


def alert(house: House, kind: str, target: str, **condition) -> int:
    return house.rows(
        "INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES (%s, %s, %s, '1s') RETURNING id",
        kind, target, Json(condition),
    )[0][0]  # fmt: skip


def transitions(house: House, alert_id: int) -> list[tuple[int, str]]:
    found = house.rows("SELECT bar_timestamp, transition FROM alert_events WHERE alert_id = %s ORDER BY id", alert_id)
    return [(int(at.timestamp()) - START_US // SECOND, name) for at, name in found]


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
