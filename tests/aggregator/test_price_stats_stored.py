"""Rows of `price_stats`: written with the bars, the same when computed again, revised where a rebuilt bar changes them."""

import math
import random
from datetime import UTC, datetime

import pytest

from aggregator.compute import Computer
from aggregator.statbook import StatsKey, compute_stats
from common.tasks import Task, claim_task, create_task, finish_task
from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, House, each_second

WINDOW = 5
ROWS = """
SELECT timestamp, returns, log_return, volatility, realised_volatility, volume_ma, price_change_pct, high_low_range, vwap,
    taker_imbalance, atr, drawdown, has_gap, revision FROM price_stats
WHERE symbol = %s AND timeframe = %s AND window_bars = %s ORDER BY timestamp
"""


@pytest.fixture
def house(settings, redis_client, database):
    """A and B, a window of five bars for pairs and statistics."""
    update = {"symbols": ("A", "B"), "pairs": ("A_B",), "window": 5, "stale_leg_s": 20, "stats_window": WINDOW}
    made = House(settings.model_copy(update=update), redis_client, database)
    yield made
    made.close()


def walk(symbol: str, seconds: int, seed: int, missing: float = 0.2) -> list[Trade]:
    """Some trades a second, of either side, with seconds without any."""
    rng, level, trades = random.Random(seed), 43_000_00, []
    for second in range(seconds):
        for place in range(rng.randint(1, 3) if rng.random() > missing else 0):
            level += rng.randint(-50, 50)
            stamp = START_US + second * SECOND + place * 200_000 + 1000
            size = f"{rng.randint(1, 10**9) / 10**8:.8f}"
            trades.append(Trade(symbol, len(trades) + 1, stamp, f"{level // 100}.{level % 100:02d}", size, rng.choice("bs")))
    return trades


def feed(house: House, trades: list[Trade], step: int = 9) -> None:
    trades = sorted(trades, key=lambda trade: trade.event_us)
    for at in range(0, len(trades), step):
        house.take(trades[at : at + step])


def late(house: House, second: int) -> None:
    """A trade after its bar has closed, with the next id."""
    last_id = house.rows("SELECT max(trade_id) FROM raw_ticks WHERE symbol = 'A'")[0][0]
    house.take([Trade("A", last_id + 1, START_US + second * SECOND + 990_000, "50000", "1", "b")])


def rows(house: House, symbol: str = "A", timeframe: str = "1s", window: int = WINDOW) -> list[tuple]:
    return house.rows(ROWS, symbol, timeframe, window)


def recompute(house: House, symbol: str = "A", timeframe: str = "1s", window: int = WINDOW, **span) -> tuple[int, int]:
    *_, last = compute_stats(house.database, house.leaves, StatsKey(symbol, timeframe, window), **span)
    return last.rows, last.changed


def stamps(house: House, table: str = "processed_bars") -> list[datetime]:
    return [row[0] for row in house.rows(f"SELECT timestamp FROM {table} WHERE symbol = 'A' AND timeframe = '1s' ORDER BY 1")]  # noqa: S608


def test_every_closed_bar_has_its_row_and_computing_again_changes_not_a_bit(house):
    feed(house, walk("A", 200, 1) + walk("B", 200, 2))
    house.quiet(400)
    live = {(symbol, timeframe): rows(house, symbol, timeframe) for symbol in "AB" for timeframe in ("1s", "1m")}
    assert [row[0] for row in live["A", "1s"]] == stamps(house) and len(live["A", "1m"]) == 4
    assert recompute(house, "A") == (len(live["A", "1s"]), 0)
    house.rows("DELETE FROM price_stats")
    for (symbol, timeframe), told in live.items():
        assert recompute(house, symbol, timeframe) == (len(told), len(told))
        assert rows(house, symbol, timeframe) == told, "bit for bit"
    assert house.rows("SELECT count(*) FROM stats_revisions") == [(0,)]


def test_a_row_uses_bars_up_to_its_own_time_only(house):
    feed(house, walk("A", 60, 3))
    house.quiet(5)
    before = rows(house)
    later = [trade._replace(trade_id=trade.trade_id + 1000, event_us=trade.event_us + 60 * SECOND) for trade in walk("A", 60, 4)]
    feed(house, later)
    house.quiet(5)
    assert rows(house)[: len(before)] == before


def test_a_restart_goes_on_with_the_window_that_is_stored(house):
    trades = walk("A", 60, 5)
    feed(house, trades[:50])
    house.start()
    feed(house, trades[50:70])
    house.start()
    feed(house, trades[70:])
    house.quiet(5)
    assert len(rows(house)) == len(stamps(house)) > 30
    assert recompute(house)[1] == 0
    assert sum(row[3] is None for row in rows(house)) == WINDOW, "only the first rows lack a full window"


def test_a_crash_before_the_commit_leaves_neither_bar_nor_row(house):
    feed(house, walk("A", 30, 5))
    house.rows("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'crash'; END $$")
    house.rows("CREATE TRIGGER crash BEFORE UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION no()")
    before = rows(house)
    with pytest.raises(Exception, match="crash"):
        house.quiet(5)
    assert rows(house) == before and stamps(house) == [row[0] for row in before]
    house.rows("DROP TRIGGER crash ON checkpoints")
    house.start()
    house.quiet(5)
    assert recompute(house)[1] == 0 and len(rows(house)) == len(stamps(house))


def test_a_late_trade_revises_the_rows_that_used_its_bar_and_keeps_what_they_said(house):
    feed(house, walk("A", 60, 6, missing=0))
    house.quiet(5)
    before = {row[0]: row for row in rows(house)}
    late(house, 30)
    house.rebuild_marks()
    after = {row[0]: row for row in rows(house)}
    revised = sorted(at for at in after if after[at][-1] == 1)
    assert revised == [from_us(START_US + n * SECOND) for n in range(30, 36)], "its own row and W after it: its close is their p"
    assert {at: row for at, row in after.items() if at not in revised} == {at: before[at] for at in before if at not in revised}
    kept = house.rows(ROWS.replace("price_stats", "stats_revisions"), "A", "1s", WINDOW)
    assert kept == [before[at] for at in revised]
    assert recompute(house)[1] == 0
    late(house, 62)
    late(house, 63)
    house.quiet(5)
    assert recompute(house)[1] == 0


def test_rows_to_come_stand_on_the_rebuilt_bar(house):
    trades = walk("A", 40, 7, missing=0)
    feed(house, [trade for trade in trades if trade.event_us < START_US + 30 * SECOND])
    late(house, 27)
    house.rebuild_marks()
    feed(house, [trade for trade in trades if trade.event_us >= START_US + 30 * SECOND])
    house.quiet(5)
    assert recompute(house)[1] == 0 and len(rows(house)) == len(stamps(house))


def test_rows_that_the_aggregator_adds_during_the_follow_up_are_done_again(house, monkeypatch):
    house.settings = house.settings.model_copy(update={"pairs": ()})  # a pair's own follow-up would have windows read again
    house.start()
    trades = walk("A", 40, 7, missing=0)
    cut = START_US + 30 * SECOND
    feed(house, [trade for trade in trades if trade.event_us < cut])
    late(house, 27)
    from common.database import connect_database

    aggregator, passes = house.database, []
    house.database = connect_database(house.settings, "test tasks")

    def compute_then_bars(*args):
        yield from compute_stats(*args)
        if not passes:
            passes.append(args)
            tasks, house.database = house.database, aggregator
            feed(house, [trade for trade in trades if trade.event_us >= cut][:6])
            house.database = tasks

    monkeypatch.setattr("aggregator.statbook.compute_stats", compute_then_bars)
    house.rebuild_marks()
    house.database.close()
    house.database = aggregator
    house.quiet(5)
    assert passes and recompute(house)[1] == 0


def test_the_row_of_a_bar_that_is_gone_is_gone_and_kept(house):
    feed(house, walk("A", 30, 8, missing=0))
    house.quiet(5)
    at = START_US + 10 * SECOND
    house.rows("DELETE FROM raw_ticks WHERE timestamp >= %s AND timestamp < %s", from_us(at), from_us(at + SECOND))
    house.rows(
        "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
        " VALUES ('A', %s, %s, 'trades', 0, 0, 'test')", at, at,
    )  # fmt: skip
    house.rebuild_marks()
    assert from_us(at) not in [row[0] for row in rows(house)] and stamps(house) == [row[0] for row in rows(house)]
    assert house.rows("SELECT revision FROM stats_revisions WHERE timestamp = %s", from_us(at)) == [(0,)]
    assert recompute(house)[1] == 0


def test_a_bar_of_a_gap_is_told_by_the_rows_that_used_it(house):
    feed(house, [trade for trade in each_second("A", ["5", "6"] * 10) if trade.trade_id != 8])
    house.quiet(5)
    house.rebuild_marks()
    recompute(house)
    gaps = {row[0] for row in house.rows("SELECT timestamp FROM processed_bars WHERE status = 'gap' AND timeframe = '1s'")}
    assert gaps
    told = [row[0] for row in rows(house) if row[12]]
    bars = stamps(house)
    wanted = {bar for n, bar in enumerate(bars) if gaps & set(bars[max(0, n - WINDOW) : n + 1])}
    assert set(told) == wanted


def test_rows_of_other_windows_follow_a_rebuild_too_and_stay_where_they_were_asked_for(house):
    feed(house, walk("A", 60, 6, missing=0))
    house.quiet(5)
    assert recompute(house, window=9, first_us=START_US + 20 * SECOND, end_us=START_US + 33 * SECOND) == (13, 13)
    late(house, 30)
    house.rebuild_marks()
    other = rows(house, window=9)
    assert [row[-1] for row in other] == [0] * 10 + [1] * 3
    assert recompute(house, window=9, first_us=START_US + 20 * SECOND, end_us=START_US + 33 * SECOND)[1] == 0


def test_two_late_trades_far_apart_are_two_short_stretches(house, monkeypatch):
    feed(house, walk("A", 300, 6, missing=0))
    house.quiet(5)
    looked = []
    monkeypatch.setattr("aggregator.statbook.PIECE_BARS", 50)
    from aggregator import statbook

    settle = statbook._settle
    monkeypatch.setattr(statbook, "_settle", lambda *args: looked.append(len(args[3])) or settle(*args))
    for second in (20, 250):
        late(house, second)
    house.rebuild_marks()
    assert sum(looked) <= 6 * (2 + 2 * WINDOW)
    assert recompute(house)[1] == 0


def test_a_task_computes_its_own_rows_alone_and_goes_on_where_it_stopped(house, monkeypatch):
    feed(house, walk("A", 120, 9, missing=0) + walk("B", 120, 10))
    house.quiet(5)
    live = {symbol: rows(house, symbol) for symbol in "AB"}
    computer = Computer(house.settings, house.client, house.database)
    monkeypatch.setattr("aggregator.statbook.PIECE_BARS", 30)
    span = {"start_us": START_US + 10 * SECOND, "end_us": START_US + 110 * SECOND}
    params = {"symbol": "A", "timeframe": "1s", "window": 12, **span}
    task = Task(create_task(house.database, "stats", params), "stats", params, 1, {})
    pieces = []

    def dies():
        pieces.append(1)
        if len(pieces) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Computer(house.settings, house.client, house.database, dies).run(task)
    again = claim_task(house.database, ["stats"])
    assert again and again.counts["rows"] == 60
    assert computer.run(again) == {"rows": 100, "changed": 100}
    finish_task(house.database, task.task_id, {})
    own = rows(house, window=12)
    assert [row[0] for row in own] == [from_us(START_US + n * SECOND) for n in range(10, 110)]
    assert own[0][1] is not None and own[0][3] is None and own[2][3] is not None, "bars before the range are context"
    assert {symbol: rows(house, symbol) for symbol in "AB"} == live
    assert computer.run(task) == {"rows": 100, "changed": 0}
    assert computer.run(task._replace(params={**params, "symbol": "NONE"})) == {"rows": 0, "changed": 0}


def test_statistics_can_be_switched_off_and_computed_all_the_same(house):
    house.settings = house.settings.model_copy(update={"stats": "off"})
    house.start()
    feed(house, walk("A", 40, 1))
    house.quiet(5)
    late(house, 20)
    house.rebuild_marks()
    assert rows(house) == []
    assert recompute(house)[0] == len(stamps(house)) == len(rows(house))


def test_numbers_of_any_width_are_read_as_postgresql_writes_them(house):
    prices = ["123456789012345678901234567890.12", "0.000000000000000012", "99999999999999999999", "7.1", "7.3", "7.1", "8"]
    sizes = ["0.000000000000000000001", "9999999999999999999.123", "1", "3.3", "3", "2", "1"]
    for n, (price, size) in enumerate(zip(prices * 3, sizes * 3, strict=True)):
        house.take([Trade("A", n + 1, START_US + n * SECOND, price, size, "b")])
    house.quiet(5)
    assert recompute(house) == (21, 0)
    house_rows = rows(house)
    house.rows("DELETE FROM price_stats")
    recompute(house)
    assert rows(house) == house_rows
    assert all(value is None or math.isfinite(value) for row in house_rows for value in row[1:12])


def test_what_was_known_then_can_be_told(house):
    feed(house, walk("A", 20, 6, missing=0))
    house.quiet(5)
    then = house.rows("SELECT now()")[0][0]
    late(house, 10)
    house.rebuild_marks()
    assert house.rows("SELECT count(*) FROM stats_revisions WHERE written_at <= %s AND replaced_at > %s", then, then)[0][0] == 6
    assert then.tzinfo == UTC or then.utcoffset().total_seconds() == 0
