"""Writers, aggregator and tasks as real processes: stored once, bars equal SQL, whatever comes in and whoever dies."""

import random
import time

import pytest

from common.codec import encode_rows
from common.partitions import ensure_tick_leaves
from common.streams import shard_of
from common.tasks import create_task
from common.trades import Trade, from_us
from tests.pipeline import Pipeline, a_pipeline

pytestmark = pytest.mark.process
ALL = ("writer_0", "writer_1", "aggregator_0", "tasks")
#: Pairs whose row of their legs' newest 1s bar is still to come: the shard of y hears of the bars of another one a commit later.
WITHOUT_LAST_ROW = """
SELECT symbol_pair FROM pair_series p WHERE timeframe = '1s' AND NOT EXISTS (
    SELECT 1 FROM spread_analytics s WHERE s.symbol_pair = p.symbol_pair AND s.timeframe = '1s' AND s.timestamp = (
        SELECT max(b.timestamp) FROM processed_bars b WHERE b.timeframe = '1s' AND b.symbol = ANY(p.symbols)))
"""


def walk(symbols: int, count: int, start_us: int, step_us: int, seed: int = 1) -> list[Trade]:
    """A plausible feed: contiguous ids by symbol, in time."""
    rng = random.Random(seed)
    ids, prices = [1000] * symbols, [43_000_00 - 7 * n for n in range(symbols)]
    trades = []
    for n in range(count):
        code = rng.randrange(symbols)
        ids[code] += 1
        prices[code] += rng.randint(-50, 50)
        price = f"{prices[code] // 100}.{prices[code] % 100:02d}"
        size = f"{rng.randint(1, 10**6) / 10**5:.5f}"
        trades.append(Trade(f"SYM{code}", ids[code], start_us + n * step_us, price, size, rng.choice("bs")))
    return trades


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def pipeline(settings, redis_client, database):
    with a_pipeline(settings, redis_client, database, *ALL) as running:
        yield running


def check(pipeline: Pipeline, trades: list[Trade], distinct: int) -> None:
    pipeline.settle()
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == distinct
    assert pipeline.scalar("SELECT sum(stored) FROM writer_positions") == distinct
    assert pipeline.differences() == []
    assert pipeline.scalar("SELECT count(*) FROM dead_letters") == 0


def test_bars_equal_sql_over_the_ticks(pipeline):
    trades = walk(5, 60_000, now_us() - 400_000_000, 6_000)
    pipeline.send(trades, at_once=True)
    check(pipeline, trades, len(trades))
    assert pipeline.scalar("SELECT count(*) FROM processed_bars WHERE timeframe = '5m'") >= 5
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0


def test_repeated_trades_are_stored_and_counted_once(pipeline):
    trades = walk(3, 5_000, now_us() - 100_000_000, 15_000)
    pipeline.send(trades, at_once=True)
    pipeline.send(trades[1000:4000])
    pipeline.send(trades + trades[-10:])
    check(pipeline, trades, len(trades))
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0


def test_a_late_trade_revises_its_bars_once(pipeline):
    start_us = now_us() - 400_000_000
    start_us -= start_us % 300_000_000
    trades = walk(1, 3_500, start_us, 90_000)
    late = trades.pop(500)
    counted = "SELECT count(*) FROM processed_bars WHERE timestamp < %s"
    closed = from_us(start_us + 300_000_000)  # the newest trade is past it; what is open behind it may close at any time
    pipeline.send(trades, at_once=True)
    pipeline.settle()
    before = pipeline.scalar(counted, closed)
    assert before == 300 + 5 + 1
    pipeline.send([late._replace(price="99999")])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM bar_revisions") == 3, 60, "revised 1s, 1m and 5m bar")
    check(pipeline, trades, len(trades) + 1)
    assert pipeline.scalar(counted, closed) == before
    assert pipeline.rows("SELECT DISTINCT high, revision FROM processed_bars WHERE revision > 0") == [(99999, 1)]


def test_a_copy_with_another_stamp_that_was_stored_first_decides(pipeline):
    stamp = now_us() - 10_000_000
    stamp -= stamp % 1_000_000
    fine = Trade("A", 7, stamp + 1_000_456, "5", "1", "b")
    pipeline.kill("writer_0"), pipeline.kill("writer_1")
    pipeline.send([fine._replace(event_us=stamp + 1_000_000), Trade("A", 8, stamp + 1_000_100, "6", "1", "s")])
    pipeline.send([Trade("A", 9, stamp + 3_000_000, "6", "1", "s")])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM processed_bars") >= 1, 60, "first bar")
    ensure_tick_leaves(pipeline.database, [from_us(stamp).date()])
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute("INSERT INTO raw_ticks VALUES ('A', 7, %s, 5, 1, 'b')", (from_us(stamp + 1_000_456),))
    pipeline.start("writer_0", "writer_1")  # both: Redis may have handed an entry to the one that was just killed
    pipeline.settle()
    assert pipeline.differences() == []
    assert pipeline.scalar("SELECT open FROM processed_bars WHERE timeframe = '1s' ORDER BY timestamp LIMIT 1") == 6


@pytest.mark.parametrize("victim", ALL)
def test_kill_9_loses_and_doubles_nothing(pipeline, victim):
    trades = walk(4, 80_000, now_us() - 800_000_000, 9_000, seed=ALL.index(victim))
    for at in range(0, len(trades), 8_000):
        pipeline.send(trades[at : at + 8_000])
        if at in (16_000, 48_000):
            pipeline.kill(victim)
            pipeline.start(victim)
    check(pipeline, trades, len(trades))


def test_a_row_that_is_none_is_a_dead_letter_and_blocks_nobody(pipeline, redis_client):
    good = walk(1, 100, now_us() - 20_000_000, 100_000)
    rows = encode_rows(good[:50]) + "BTC,x,2026,1,1,b,\nlower,1,2026-01-01T00:00:00.000000Z,1,1,b,\n" + encode_rows(good[50:])
    redis_client.xadd("trades", {"v": 1, "n": 102, "src": "test.trade", "rows": rows})
    pipeline.settle()
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 100
    letters = pipeline.rows("SELECT row_number, field, payload FROM dead_letters ORDER BY row_number")
    assert [letter[:2] for letter in letters] == [(50, "trade_id"), (51, "symbol")]
    assert letters[0][2] == "BTC,x,2026,1,1,b,"
    assert pipeline.differences() == []


def test_a_row_that_postgresql_refuses_is_taken_out_of_the_bars(pipeline):
    trades = walk(2, 3_000, now_us() - 100_000_000, 30_000)
    poison = trades[1234]
    ensure_tick_leaves(pipeline.database, {from_us(trade.event_us).date() for trade in trades})
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute("ALTER TABLE raw_ticks ADD CONSTRAINT no_poison CHECK (NOT (symbol = %s AND trade_id = %s))", poison[:2])
    pipeline.send(trades)
    pipeline.settle()
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 2_999
    assert "no_poison" in pipeline.scalar("SELECT reason FROM dead_letters")
    assert pipeline.differences() == []


def test_the_stream_is_trimmed_behind_its_readers(pipeline, redis_client):
    old_ms = now_us() // 1000 - 120_000
    for trade in walk(1, 1_000, old_ms * 1000 - 1_000_000, 1_000):
        fields = {"v": 1, "n": 1, "src": "test.trade", "rows": encode_rows([trade])}
        redis_client.xadd("trades", fields, id=f"{old_ms}-*")
    pipeline.settle()
    pipeline.wait(lambda: redis_client.xlen("trades") <= 200, 60, "trimmed stream")
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 1_000


def test_a_spare_aggregator_waits_and_takes_over(pipeline, settings):
    trades = walk(2, 20_000, now_us() - 200_000_000, 9_000)
    pipeline.send(trades[:10_000])
    pipeline.settle()
    spare = Pipeline(settings, pipeline.client, pipeline.database)
    spare.start("aggregator_0")
    pipeline.kill("aggregator_0")
    pipeline.send(trades[10_000:])
    check(pipeline, trades, len(trades))
    spare.stop()


def test_a_copy_that_lost_while_its_bars_are_open_is_not_in_them_when_they_close(pipeline):
    stamp = now_us() - 700_000_000
    stamp -= stamp % 300_000_000 - 1_000_000
    pipeline.settle()
    ensure_tick_leaves(pipeline.database, [from_us(stamp).date()])
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute("INSERT INTO raw_ticks VALUES ('A', 7, %s, 5, 1, 'b')", (from_us(stamp),))
    pipeline.send([Trade("A", 7, stamp, "99", "1", "b")])
    pipeline.settle()
    assert pipeline.rows("SELECT high FROM processed_bars WHERE timeframe = '1s'") == [(5,)]
    pipeline.send([Trade("A", 8, stamp + 400_000_000, "6", "1", "s")])
    highs = "SELECT high FROM processed_bars WHERE timeframe = '5m' AND symbol = 'A'"
    pipeline.wait(lambda: pipeline.rows(highs) == [(5,)], 60, "right 5m bar")
    pipeline.settle()


def test_a_rebuild_waits_for_the_writers(pipeline):
    """A bar that the aggregator closed from entries that are not stored yet keeps its values when a mark names it."""
    start = now_us() - 900_000_000
    start -= start % 1_000_000
    first, rest = walk(1, 3_000, start, 100_000)[:1_000], walk(1, 3_000, start, 100_000)[1_000:]
    pipeline.send(first, at_once=True)
    pipeline.settle()
    late = first[-1]._replace(trade_id=1, event_us=first[10].event_us)
    pipeline.kill("writer_0"), pipeline.kill("writer_1")
    pipeline.send([*rest, late], at_once=True)
    last = pipeline.client.xinfo_stream("trades")["last-generated-id"].decode()
    position = "SELECT position_ms || '-' || position_seq FROM checkpoints"
    pipeline.wait(lambda: pipeline.scalar(position) == last, 60, "aggregator at the end")
    assert pipeline.scalar("SELECT count(*) FROM dirty_ranges") > 0
    pipeline.start("writer_0", "writer_1")
    pipeline.settle()
    assert pipeline.differences() == []
    revised = {row[0] for row in pipeline.rows("SELECT timestamp FROM bar_revisions")}
    of_the_late_trade = [from_us(late.event_us - late.event_us % length) for length in (1_000_000, 60_000_000, 300_000_000)]
    assert {of_the_late_trade[0]} <= revised <= set(of_the_late_trade)


def test_three_shards_give_the_same_bars_and_pairs_across_them(settings, redis_client, database):
    symbols = tuple(f"SYM{n}" for n in range(4))
    pairs = ("SYM0_SYM1", "SYM1_SYM2", "SYM3_SYM0")
    several = settings.model_copy(update={"shards": 3, "symbols": symbols, "pairs": pairs, "window": 10})
    assert len({shard_of(symbol, 3) for symbol in symbols}) > 1
    names = ("writer_0", "writer_1", "aggregator_0", "aggregator_1", "aggregator_2", "tasks")
    with a_pipeline(several, redis_client, database, *names) as pipeline:
        trades = walk(4, 30_000, now_us() - 200_000_000, 6_000)
        for at in range(0, len(trades), 10_000):
            pipeline.send(trades[at : at + 10_000])
        check(pipeline, trades, len(trades))
        rows = "SELECT count(*) FROM spread_analytics WHERE timeframe = '1s' AND z_score IS NOT NULL"
        pipeline.wait(lambda: not pipeline.rows(WITHOUT_LAST_ROW), 60, "last pair rows across shards")
        assert pipeline.scalar(rows) > 3 * 150
        for pair in pairs:
            legs = dict(zip(("symbol1", "symbol2"), pair.split("_"), strict=True))
            task_id = create_task(database, "spread", {**legs, "timeframe": "1s", "window": 10})
            pipeline.wait(lambda: pipeline.scalar("SELECT state FROM tasks WHERE task_id = %s", task_id) == "done", 60, "task")  # noqa: B023
            assert pipeline.scalar("SELECT counts->>'changed' FROM tasks WHERE task_id = %s", task_id) == "0"
