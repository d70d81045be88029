"""A timeframe that is added later has its whole history; and rebuilds go on without the Redis they were marked under."""

import pytest

from common.settings import Settings
from common.trades import Trade, from_us
from tests.aggregator.running import an_aggregator, the_tasks
from tests.consumer.running import a_writer, wait
from tests.pipeline import Pipeline

SECOND = 1_000_000
#: 2026-01-15T12:00:00Z: whole minutes, quarters and hours begin.
START_US = 1_768_478_400_000_000
WRONG = """
SELECT timeframe, timestamp FROM processed_bars b, LATERAL (
    SELECT (array_agg(price ORDER BY timestamp, trade_id))[1] AS o, max(price) AS h, min(price) AS l,
        (array_agg(price ORDER BY timestamp DESC, trade_id DESC))[1] AS c, sum(size) AS v, count(*) AS n FROM raw_ticks t
    WHERE t.symbol = b.symbol AND t.timestamp >= b.timestamp AND t.timestamp < b.timestamp + %s::interval) AS ticks
WHERE timeframe = %s AND (open, high, low, close, volume, tick_count) IS DISTINCT FROM (o, h, l, c, v, n)
"""


@pytest.fixture
def pipeline(settings, redis_client, database) -> Pipeline:
    quick = settings.model_copy(update={"symbols": ("A", "B"), "pairs": (), "timeframes": ("1s", "1m", "5m"), "lateness_ms": 200})
    return Pipeline(quick, redis_client, database)


def minutes(first: int, last: int, symbol: str = "A") -> list[Trade]:
    """A trade each ten seconds."""
    return [Trade(symbol, n, START_US + n * 10 * SECOND, str(100 + n % 13), "0.5", "b") for n in range(first * 6, last * 6)]


def count(pipeline: Pipeline, timeframe: str, symbol: str, before: int) -> int:
    """Bars of a symbol that begin before a minute; one that begins later may be open, or closed by the clock meanwhile."""
    query = "SELECT count(*) FROM processed_bars WHERE timeframe = %s AND symbol = %s AND timestamp < %s"
    return pipeline.scalar(query, timeframe, symbol, from_us(START_US + before * 60 * SECOND))


@pytest.mark.parametrize("away", [False, True])
def test_a_timeframe_that_is_added_has_the_bars_of_all_stored_ticks(pipeline, away):
    """Of two days and two symbols, also of one that never trades again; also those that came while the aggregator was away."""
    old = [each._replace(trade_id=each.trade_id + 10_000, event_us=each.event_us - 86_400 * SECOND) for each in minutes(0, 10)]
    more: Settings = pipeline.settings.model_copy(update={"timeframes": ("1s", "1m", "5m", "15m")})
    with a_writer(pipeline.settings):
        with an_aggregator(pipeline.settings), the_tasks(pipeline.settings):
            pipeline.send([*old, *minutes(0, 47), *minutes(0, 20, "B")])
            pipeline.settle()
        assert (count(pipeline, "1m", "A", 46), count(pipeline, "1m", "B", 19)) == (10 + 46, 19)
        if away:
            pipeline.send(minutes(47, 52))
            wait(lambda: pipeline.scalar("SELECT max(trade_id) FROM raw_ticks WHERE trade_id < 10000") == 311, "stored")
        with an_aggregator(more), the_tasks(more):
            pipeline.send(minutes(52 if away else 47, 61))
            pipeline.settle()
    assert (count(pipeline, "1m", "A", 60), count(pipeline, "1m", "B", 19)) == (10 + 60, 19)
    assert (count(pipeline, "15m", "A", 60), count(pipeline, "15m", "B", 15)) == (1 + 4, 1)
    assert pipeline.rows(WRONG, "15 minutes", "15m") == []
    assert [row for row in pipeline.differences() if row[1] == "A"] == [], "B is not over: it is quiet"
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0


def test_an_added_timeframe_is_made_once(pipeline):
    more = pipeline.settings.model_copy(update={"timeframes": ("1s", "1m", "5m", "15m")})
    with a_writer(pipeline.settings):
        with an_aggregator(pipeline.settings), the_tasks(pipeline.settings):
            pipeline.send(minutes(0, 31))
            pipeline.settle()
        for _ in range(2):
            began = pipeline.scalar("SELECT now()")
            with an_aggregator(more):
                saved = "SELECT updated_at > %s + interval '0.5 s' FROM checkpoints"
                wait(lambda: pipeline.scalar(saved, began), "commit")  # noqa: B023
    assert pipeline.scalar("SELECT count(*) FROM dirty_ranges") == 1


@pytest.mark.parametrize("loss", ["flushed", "deleted stream"])
def test_rebuilds_do_not_wait_for_entries_of_a_stream_that_is_gone(pipeline, loss):
    """No trade comes any more: a mark from before the loss is rebuilt all the same."""
    settings = pipeline.settings
    with a_writer(settings), an_aggregator(settings), the_tasks(settings):
        pipeline.send(minutes(0, 5))
        pipeline.settle()
    ms, seq = pipeline.client.xinfo_stream("trades")["last-generated-id"].decode().split("-")
    pipeline.rows(
        "WITH late AS (INSERT INTO raw_ticks VALUES ('A', 900, %s, 777, 1, 'b', NULL) RETURNING 1) "
        "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
        " SELECT 'A', %s, %s, 'trades', %s, %s, 'test' FROM generate_series(1, 1) RETURNING 1",
        from_us(START_US + 61 * SECOND), START_US + 61 * SECOND, START_US + 61 * SECOND, int(ms), int(seq),
    )  # fmt: skip
    pipeline.client.flushall() if loss == "flushed" else pipeline.client.delete("trades")
    with a_writer(settings), an_aggregator(settings), the_tasks(settings):
        wait(lambda: pipeline.scalar("SELECT max(high) FROM processed_bars WHERE timeframe = '1m'") == 777, "rebuilt bar")
