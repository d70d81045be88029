"""Faults of the feed, all the way to the bars: every id is stored, gaps are closed, bars equal SQL over the ticks."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.database import transaction
from common.gaps import Gap, record
from common.settings import Settings
from tests.exchange.running import RunningExchange, running_exchange
from tests.pipeline import Pipeline, a_pipeline
from tests.processes.feeding import fact, feed_settings, producing, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
SYMBOLS = ("BTCUSDT", "ETHUSDT")
ALL = ("writer_0", "writer_1", "aggregator_0", "tasks")
GAPS = "SELECT symbol, first_id, last_id, state, note FROM gaps ORDER BY symbol, first_id"
OLD_GAPS = "SELECT first_id, last_id, state, note FROM gaps WHERE last_id < %s ORDER BY first_id"
EXTENT = """
SELECT min(trade_id), max(trade_id), count(*), (extract(epoch FROM min(timestamp)) * 1000000)::bigint FROM raw_ticks
WHERE symbol = %s AND trade_id >= 0
"""
STAMPS = """
SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint FROM raw_ticks
WHERE symbol = %s AND trade_id IN (%s, %s) ORDER BY trade_id
"""


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[RunningExchange]:
    folder = tmp_path / "sim"
    folder.mkdir()
    with running_exchange(folder, sim_rate=300, symbols=",".join(SYMBOLS), history="5s") as running:
        yield running


@pytest.fixture
def feed(settings: Settings, exchange: RunningExchange) -> Settings:
    return feed_settings(settings, exchange, symbols=SYMBOLS)


@pytest.fixture
def pipeline(feed, redis_client, database) -> Iterator[Pipeline]:
    with a_pipeline(feed, redis_client, database, *ALL) as running:
        yield running


@pytest.fixture
def patient(feed, redis_client, database) -> Iterator[Pipeline]:
    """Its bars wait for trades for as long as a busy machine may take to connect again and fetch them."""
    with a_pipeline(feed.model_copy(update={"lateness_ms": 6_000}), redis_client, database, *ALL) as running:
        yield running


def newest(exchange: RunningExchange) -> dict[str, int]:
    return {symbol: exchange.get(f"/api/v3/trades?symbol={symbol}&limit=1")[-1]["id"] for symbol in SYMBOLS}


def stored_past(pipeline: Pipeline, exchange: RunningExchange, symbols: tuple[str, ...] = SYMBOLS) -> None:
    """Wait until the table has what the exchange traded up to now, and all of it."""
    wanted = newest(exchange)
    for symbol in symbols:
        pipeline.wait(lambda symbol=symbol: is_whole(pipeline, symbol, wanted[symbol]), 60, f"all of {symbol}")


def is_whole(pipeline: Pipeline, symbol: str, newest_id: int) -> bool:
    ((first_id, last_id, count, _),) = pipeline.rows(EXTENT, symbol)
    return first_id is not None and last_id >= newest_id and last_id - first_id + 1 == count


def at_rest_and_right(pipeline: Pipeline) -> None:
    pipeline.settle(90, closed=lambda: pipeline.scalar("SELECT count(*) FROM gaps WHERE state = 'open'") == 0)
    assert pipeline.differences() == []
    assert pipeline.scalar("SELECT count(*) FROM processed_bars WHERE status = 'gap'") == 0
    assert pipeline.scalar("SELECT count(*) FROM dead_letters") == 0


def test_a_faulty_line_loses_no_trade_and_no_bar(pipeline, feed, redis_client, exchange):
    faults: dict[str, Any] = {"duplicate": 0.05, "reorder": 0.05, "drop": 0.02, "malformed": 0.05, "unknown": 0.05}
    exchange.post("/sim/faults", faults | {"cut_after": 500})
    with producing(feed) as producer:
        until(lambda: fact(redis_client, "reconnects") >= 3 and fact(redis_client, "malformed") > 50, "faults")
        exchange.post("/sim/faults", dict.fromkeys([*faults], 0.0) | {"cut_after": 0})
        stored_past(pipeline, exchange)
        assert producer.stop() == 0
    at_rest_and_right(pipeline)


def test_ids_that_are_missing_are_fetched_and_their_bars_are_whole_again(pipeline, feed, database, redis_client, exchange):
    """As after a restored PostgreSQL whose stream was trimmed: ticks are gone, a gap says which."""
    with producing(feed) as producer:
        pipeline.wait(lambda: pipeline.rows(EXTENT, "ETHUSDT")[0][2] >= 300, 60, "300 trades")
        stored_past(pipeline, exchange)
        ((first_id, _, _, _),) = pipeline.rows(EXTENT, "ETHUSDT")
        gone = first_id + 20, first_id + 280
        (_, from_us), (_, to_us) = pipeline.rows(STAMPS, "ETHUSDT", gone[0] - 1, gone[1] + 1)
        exchange.post("/sim/faults", {"rest_status": 429})  # until its bars were seen
        with transaction(database), database.cursor() as cursor:
            cursor.execute("DELETE FROM raw_ticks WHERE symbol = 'ETHUSDT' AND trade_id BETWEEN %s AND %s", gone)
            record(cursor, Gap("ETHUSDT", *gone, from_us, to_us), "open", "", "trades")
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM processed_bars WHERE status = 'gap'"), 60, "bars with a gap")
        exchange.post("/sim/faults", {"rest_status": 0})
        pipeline.wait(lambda: {row[3] for row in pipeline.rows(GAPS)} == {"closed"}, 60, "closed gap")
        assert fact(redis_client, "backfilled") >= gone[1] - gone[0] + 1 or producer.log().count("fetched up to")
        stored_past(pipeline, exchange)
        assert producer.stop() == 0
    at_rest_and_right(pipeline)


def test_what_the_venue_does_not_have_is_lost_and_what_is_too_much_is_left(pipeline, feed, database, exchange):
    """A symbol that was imported long ago and is fed now has such a gap."""
    with producing(feed.model_copy(update={"backfill_max_trades": 1000})) as producer:
        stored_past(pipeline, exchange)
        ((first_id, _, _, first_us),) = pipeline.rows(EXTENT, "BTCUSDT")
        oldest = exchange.get("/api/v3/historicalTrades?symbol=BTCUSDT&fromId=0&limit=1")[0]["id"]
        never, huge = (oldest - 500, oldest - 1), (oldest - 10_000_000, oldest - 501)
        with transaction(database), database.cursor() as cursor:
            for ids in (never, huge):
                record(cursor, Gap("BTCUSDT", *ids, first_us - 9_000_000, first_us), "open", "", "trades")
        assert oldest <= first_id
        pipeline.wait(lambda: all(row[3] for row in pipeline.rows(OLD_GAPS, oldest)), 60, "a note of both")
        rows = pipeline.rows(OLD_GAPS, oldest)
        assert [row[:3] for row in rows] == [(*huge, "open"), (*never, "lost")]
        assert "GEMS_BACKFILL_MAX_TRADES" in rows[0][3] and "does not have" in rows[1][3]
        assert f"fetched up to {huge[0]}" not in producer.log()
        assert producer.stop() == 0


def test_a_gap_waits_for_a_venue_that_says_later(pipeline, feed, database, redis_client, exchange):
    with producing(feed) as producer:
        stored_past(pipeline, exchange)
        ((first_id, _, _, first_us),) = pipeline.rows(EXTENT, "BTCUSDT")
        exchange.post("/sim/faults", {"rest_status": 429})
        with transaction(database), database.cursor() as cursor:
            cursor.execute("DELETE FROM raw_ticks WHERE symbol = 'BTCUSDT' AND trade_id = %s", (first_id + 50,))
            record(cursor, Gap("BTCUSDT", first_id + 50, first_id + 50, first_us, first_us + 5_000_000), "open", "", "trades")
        until(lambda: "gaps wait" in producer.log(), "its word")
        before = pipeline.scalar("SELECT count(*) FROM raw_ticks")
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") > before + 100, 60, "live trades")
        exchange.post("/sim/faults", {"rest_status": 0})
        pipeline.wait(lambda: {row[3] for row in pipeline.rows(GAPS)} == {"closed"}, 60, "closed gap")
        stored_past(pipeline, exchange)
        assert producer.stop() == 0
    at_rest_and_right(pipeline)


def test_a_silent_subscription_among_others_is_left_and_its_trades_are_fetched(pipeline, feed, redis_client, exchange):
    with producing(feed.model_copy(update={"stale_after_s": 3.0})) as producer:
        stored_past(pipeline, exchange)
        exchange.post("/sim/faults", {"mute": "ETHUSDT"})
        until(lambda: fact(redis_client, "silent") >= 1, "its being seen")
        stored_past(pipeline, exchange)
        assert "moving to a new connection" in producer.log()
        exchange.post("/sim/faults", {"mute": ""})
        stored_past(pipeline, exchange)
        assert producer.stop() == 0
        assert "connecting again" not in producer.log()
    at_rest_and_right(pipeline)


def test_two_producers_at_once_give_the_tables_of_one(patient, feed, tmp_path, exchange):
    pipeline = patient
    spare = feed.model_copy(update={"data_dir": tmp_path / "spare"})
    with producing(feed) as one, producing(spare) as two:
        until(lambda: "connected to" in one.log() and "connected to" in two.log(), "both connections")
        stored_past(pipeline, exchange)
        one.stop(signal.SIGKILL)
        exchange.post("/sim/drop")
        stored_past(pipeline, exchange)
        one.start()
        until(lambda: one.log().count("connected to") >= 2, "its second connection")
        stored_past(pipeline, exchange)
        assert (one.stop(), two.stop()) == (0, 0)
    at_rest_and_right(pipeline)
    assert pipeline.scalar("SELECT sum(stored) FROM writer_positions") == pipeline.scalar("SELECT count(*) FROM raw_ticks")
    assert pipeline.scalar("SELECT sum(repeated) FROM writer_positions") > 0
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0
