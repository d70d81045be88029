"""`./gems verify` finds nothing on a busy pipeline that works, however often it is asked."""

import itertools
import random
import threading
import time

import pytest

from common.database import connect_database
from common.streams import connect_redis
from common.trades import Trade
from tests.ops.test_verify import BARS, check_of, found, settings_on, verify
from tests.pipeline import Pipeline, a_pipeline

pytestmark = pytest.mark.process
STEP_US = 3_000


def test_a_busy_pipeline_with_late_and_repeated_trades_is_found_in_order_each_time(database_url, redis_url, tmp_path):
    settings = settings_on(database_url, redis_url, tmp_path)
    database, stop = connect_database(settings, "test"), threading.Event()
    names = ("writer_0", "writer_1", "aggregator_0", "tasks")
    with connect_redis(settings) as client, a_pipeline(settings, client, database, *names) as pipeline:
        feed = threading.Thread(target=keep_sending, args=(pipeline, stop))
        feed.start()
        try:
            pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM processed_bars") > 60, 60, "bars")
            for _ in range(5):
                code, report = verify(settings)
                assert (code, found(report)) == (0, {}), report
            assert check_of(report, BARS["1s"])["checked"] > 60
            pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM bar_revisions") > 0, 60, "a bar changed by a late trade")
        finally:
            stop.set()
            feed.join()
        pipeline.wait(lambda: deep(pipeline) == 0, 60, "report of nothing that waits for a rebuild")
    database.close()


def deep(pipeline: Pipeline) -> int:
    """How much waits though all is at rest: a bar of the first minute, say, that is not proved and closes before the look."""
    pipeline.settle()
    code, report = verify(pipeline.settings, "--deep")
    assert (code, found(report)) == (0, {}), report
    return int(report["pending"])


def keep_sending(pipeline: Pipeline, stop: threading.Event) -> None:
    """About 1,000 trades a second as they happen, in small entries; some a second late or more, some twice."""
    rng, last_id, held, done_us = random.Random(3), 1000, [], time.time_ns() // 1000 - 30_000_000
    for turn in itertools.count():
        batch: list[Trade] = []
        for at_us in range(done_us, time.time_ns() // 1000, STEP_US):
            last_id, done_us = last_id + 1, at_us + STEP_US
            prices = [f"{rng.randint(4_000, 4_100) / (n + 1):.2f}" for n in range(3)]
            batch += [Trade(f"SYM{n}", last_id, at_us + n, price, "0.5", "b") for n, price in enumerate(prices)]
        held += [batch.pop(rng.randrange(len(batch))) for _ in range(3) if batch]
        pipeline.send(batch + batch[-20:], rows=100)
        if turn % 15 == 14 or stop.is_set():
            pipeline.send(held)
            held = []
        if stop.wait(0.1) and not held:
            return
