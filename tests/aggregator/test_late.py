"""Late trades, end to end on the real servers: writers, aggregator and tasks at work."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from aggregator.barstore import BarLeaves
from aggregator.marks import Rebuilder
from common.database import connect_database
from common.partitions import ensure_tick_leaves
from common.streams import GROUP
from common.trades import US_PER_DAY, Trade, from_us
from tests.aggregator.running import an_aggregator, the_tasks
from tests.consumer.running import a_writer, locked, wait
from tests.pipeline import Pipeline

SECOND = 1_000_000
#: 2026-01-15T12:00:00Z
START_US = 1_768_478_400_000_000
BARS = "SELECT timeframe, timestamp, high, tick_count, revision FROM processed_bars WHERE high > 900 ORDER BY timeframe"


@pytest.fixture
def pipeline(settings, redis_client, database) -> Pipeline:
    quick = {"symbols": ("A", "B"), "pairs": (), "timeframes": ("1s", "1m", "5m"), "lateness_ms": 200}
    return Pipeline(settings.model_copy(update=quick), redis_client, database)


def seconds(first: int, last: int, start_us: int = START_US, symbol: str = "A", first_id: int = 1_000) -> list[Trade]:
    return [Trade(symbol, first_id + n, start_us + n * SECOND, str(100 + n % 13), "0.5", "b") for n in range(first, last)]


def test_a_trade_late_by_two_minutes_is_in_its_closed_bars_and_in_the_open_one(pipeline):
    """12:01:10 arrives at 12:03:10: its 1s and 1m bars are closed, its 5m bar is open."""
    settings = pipeline.settings
    late = Trade("A", 1, START_US + 70 * SECOND + 500_000, "999", "1", "s")
    with a_writer(settings), an_aggregator(settings), the_tasks(settings):
        pipeline.send(seconds(0, 190))
        pipeline.settle()
        pipeline.send([late])
        wait(lambda: len(pipeline.rows(BARS)) == 2, "revised bars")
        minute = from_us(START_US + 60 * SECOND)
        assert pipeline.rows(BARS) == [("1m", minute, 999, 61, 1), ("1s", from_us(START_US + 70 * SECOND), 999, 2, 1)]
        pipeline.send(seconds(190, 305))
        pipeline.settle()
    assert pipeline.rows(BARS)[2] == ("5m", from_us(START_US), 999, 301, 0) and pipeline.differences() == []


def test_of_two_copies_with_ms_and_us_stamps_the_one_that_was_committed_first_is_in_the_bars(pipeline):
    """The aggregator sees the ms copy first; the us copy, two seconds apart, is the stored one."""
    settings = pipeline.settings
    in_ms = Trade("A", 7, START_US + 10 * SECOND, "5", "1", "b")
    in_us = in_ms._replace(event_us=in_ms.event_us + 2_000_123)
    with an_aggregator(settings), the_tasks(settings):
        pipeline.send([in_ms])
        pipeline.send([in_us])
        wait(lambda: pipeline.scalar("SELECT position_ms > 0 FROM checkpoints"), "aggregator past both")
        pipeline.client.xgroup_create("trades", GROUP, id="0")
        for consumer, price in (("worker-8", "first"), ("worker-9", "second")):
            assert pipeline.client.xreadgroup(GROUP, consumer, {"trades": ">"}, count=1), price
        entries = pipeline.client.xrange("trades")
        pipeline.client.xclaim("trades", GROUP, "worker-2", 0, [entries[1][0]])
        with a_writer(settings, 2):
            wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == 1, "us copy stored")
        pipeline.client.xclaim("trades", GROUP, "worker-1", 0, [entries[0][0]])
        with a_writer(settings, 1):
            pipeline.send(seconds(0, 330, START_US + 20 * SECOND))
            pipeline.settle()
    assert pipeline.rows("SELECT timestamp FROM raw_ticks WHERE trade_id = 7") == [(from_us(in_us.event_us),)]
    assert pipeline.differences() == []


def test_an_archive_of_2024_at_full_speed_through_the_live_path_closes_no_bar_early(pipeline):
    settings = pipeline.settings
    of_2024 = seconds(0, 4_000, 1_704_067_200_000_000)
    with an_aggregator(settings), the_tasks(settings), ExitStack() as stack:
        wait(lambda: pipeline.scalar("SELECT count(*) FROM checkpoints"), "first checkpoint")  # before any tick: all is proved
        stack.enter_context(a_writer(settings))
        pipeline.send(of_2024, rows=50)  # in one go: a pause of this thread would be one of the feed, which closes bars
        pipeline.settle()
        marks = pipeline.scalar("SELECT pg_sequence_last_value('dirty_ranges_id_seq')")
    assert pipeline.differences() == [] and marks is None, "an early close would have been a late trade"
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0


def test_a_mark_made_while_the_writers_are_between_reading_and_committing_waits_for_them(pipeline):
    settings, rebuilt = pipeline.settings, []
    old_marks = "SELECT count(*) FROM dirty_ranges WHERE marked_at < now() - interval '1 second'"
    rebuilder = Rebuilder(settings, pipeline.client, connect_database(settings, "rebuilder"), BarLeaves())

    def rebuilds() -> bool:
        rebuilt.extend(rebuilder.turn())
        return bool(rebuilt)

    with a_writer(settings), an_aggregator(settings):
        with the_tasks(settings):
            pipeline.send(seconds(0, 190))
            pipeline.settle()
        with locked(settings, "raw_ticks"):
            pipeline.send([Trade("A", 1, START_US + 70 * SECOND + 500_000, "999", "1", "s")])
            wait(lambda: pipeline.scalar(old_marks), "mark that is old enough")
            wait(lambda: pipeline.client.xpending("trades", GROUP)["pending"] == 1, "writer that has it and can not commit")
            for _ in range(5):
                assert not rebuilds(), "the rebuild would not see the late trade, and would take its mark away"
            assert pipeline.scalar(old_marks) == 1
        wait(rebuilds, "rebuild")
        assert [row[0] for row in pipeline.rows(BARS)] == ["1m", "1s"] and not pipeline.scalar(old_marks)
        with the_tasks(settings):
            pipeline.settle()
    assert pipeline.differences() == []


def test_marks_years_apart_rebuild_two_days_and_not_what_is_between(pipeline):
    """A tick between them that got into the table by another way shows it: nothing marks it, so it has no bar."""
    settings, between_us = pipeline.settings, START_US - 365 * US_PER_DAY
    ensure_tick_leaves(pipeline.database, [from_us(between_us).date()], datetime.now(UTC).date())
    between = "INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size, side) VALUES ('A', 5, %s, 1, 1, 'b') RETURNING 1"
    with a_writer(settings), an_aggregator(settings):
        with the_tasks(settings):
            pipeline.send(seconds(0, 190))
            pipeline.settle()
        assert pipeline.scalar(between, from_us(between_us)) == 1
        of_2024 = seconds(0, 3, START_US - 730 * US_PER_DAY, "A", 10)
        pipeline.send([Trade("A", 1, START_US + 70 * SECOND, "999", "1", "s"), *of_2024])
        marked = "SELECT count(DISTINCT date_trunc('year', to_timestamp(first_us / 1e6))) FROM dirty_ranges"
        wait(lambda: pipeline.scalar(marked) == 2, "marks")
        with the_tasks(settings):
            pipeline.settle()
    days = "SELECT DISTINCT timestamp::date FROM processed_bars ORDER BY 1"
    assert [day for (day,) in pipeline.rows(days)] == [from_us(at).date() for at in (START_US - 730 * US_PER_DAY, START_US)]
    assert [row[0] for row in pipeline.rows(BARS)] == ["1m", "1s"]
    assert {(row[0], row[3].date()) for row in pipeline.differences()} == {("wrong or missing", from_us(between_us).date())}


def test_a_tick_older_than_retention_is_a_dead_letter_and_its_day_is_never_rebuilt(pipeline):
    kept = pipeline.settings.model_copy(update={"tick_retention_days": 30})
    now_us = time.time_ns() // 60_000_000_000 * 60_000_000 - 600 * SECOND
    with a_writer(kept), an_aggregator(kept), the_tasks(kept):
        pipeline.send(seconds(0, 130, now_us))
        pipeline.settle()
        pipeline.send([Trade("A", 1, now_us - 31 * US_PER_DAY, "999", "1", "s")])
        reason = "SELECT reason FROM dead_letters"
        wait(lambda: "older than the tick retention" in (pipeline.scalar(reason) or ""), "letter")
        pipeline.settle()
    assert pipeline.rows(BARS) == [] and pipeline.differences() == []


def test_an_aggregator_that_was_away_for_ten_minutes_of_load_makes_them_good(pipeline):
    """Ticks go on meanwhile."""
    settings, load = pipeline.settings, [*seconds(0, 1_000), *seconds(0, 1_000, symbol="B")]
    load.sort(key=lambda trade: trade.event_us)
    with a_writer(settings), the_tasks(settings):
        with an_aggregator(settings):
            pipeline.send(load[:300])
            pipeline.settle()
        pipeline.send(load[300:1_500], rows=20)
        wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == 1_500, "ticks without the aggregator")
        with an_aggregator(settings):
            pipeline.send(load[1_500:], rows=20)
            pipeline.settle()
    assert pipeline.differences() == [] and pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0
