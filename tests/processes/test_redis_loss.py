"""Redis forgets: what it had acknowledged is gone, or it is another Redis. The bars stay what the stored ticks say."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from common.database import connect_database
from common.settings import Settings
from common.streams import connect_redis
from common.trades import Trade
from ops.embedded import PrivateServers
from ops.migrate import migrate
from tests.consumer.test_writer import BLOCK_COMMIT, WAITING
from tests.pipeline import Pipeline, a_pipeline
from tests.processes.test_pipeline import ALL, now_us, walk
from tests.servers import private_servers

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def servers() -> Iterator[PrivateServers]:
    with private_servers() as started:
        yield started


@pytest.fixture
def pipeline(servers: PrivateServers, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    name = f"loss_{abs(hash(request.node.name)) % 10**8}"
    migrate(servers.postgres_url(name))
    settings = Settings.from_env(
        {}, database_url=servers.postgres_url(name), redis_url=servers.redis_url(), data_dir=tmp_path, lateness_ms=200
    )
    client, database = connect_redis(settings), connect_database(settings)
    client.flushall()
    with a_pipeline(settings, client, database, *ALL) as running:
        yield running
    database.close()


def trades() -> list[Trade]:
    return walk(3, 30_000, now_us() - 300_000_000, 9_000)


def send_until_it_lives(pipeline: Pipeline, some: list[Trade]) -> None:
    """As a producer that tries again; only what Redis lost after its answer is not sent again."""
    until_s = time.monotonic() + 30
    while True:
        try:
            return pipeline.send(some)
        except (redis.ConnectionError, redis.BusyLoadingError):
            assert time.monotonic() < until_s
            time.sleep(0.1)


def check_law_3(pipeline: Pipeline, last: Trade) -> None:
    pipeline.wait(
        lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks WHERE symbol = %s AND trade_id = %s", last.symbol, last.trade_id),
        60, "last trade stored",
    )  # fmt: skip
    pipeline.settle()
    assert pipeline.differences() == []


def test_a_flushed_redis_leaves_bars_that_equal_the_ticks(pipeline: Pipeline) -> None:
    made = trades()
    pipeline.send(made[:10_000])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") > 2_000, 60, "ticks")
    pipeline.client.flushall()
    pipeline.send(made[10_000:])
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") >= 20_000


def test_ticks_that_the_stream_forgot_before_the_aggregator_read_them_are_in_the_bars(pipeline: Pipeline) -> None:
    made = trades()
    pipeline.send(made[:10_000])
    pipeline.settle()
    pipeline.kill("aggregator_0")
    pipeline.send(made[10_000:20_000])
    pipeline.send([made[0]._replace(symbol="OLD", event_us=made[0].event_us - 40 * 86_400_000_000)])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == 20_001, 60, "stored ticks")
    pipeline.client.flushall()
    pipeline.send(made[20_000:])
    pipeline.start("aggregator_0")
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 30_001


@pytest.mark.parametrize("cut_bytes", [1, 200_000])
def test_a_torn_append_only_file_costs_no_bar(pipeline: Pipeline, servers: PrivateServers, cut_bytes: int) -> None:
    made = trades()
    pipeline.send(made[:15_000])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") > 10_000, 60, "ticks")
    servers.kill("redis")
    newest = max((servers.data_dir / "redis").rglob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    with newest.open("rb+") as file:
        file.truncate(max(0, newest.stat().st_size - cut_bytes))
    servers.start("redis")
    send_until_it_lives(pipeline, made[15_000:])
    check_law_3(pipeline, made[-1])


def test_a_redis_started_on_an_older_copy_costs_no_bar(pipeline: Pipeline, servers: PrivateServers) -> None:
    made = trades()
    pipeline.send(made[:8_000])
    pipeline.settle()
    servers.kill("redis")
    folder, copy = servers.data_dir / "redis", servers.data_dir / "redis-copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock", "lock"))
    servers.start("redis")
    send_until_it_lives(pipeline, made[8_000:16_000])
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == 16_000, 60, "stored ticks")
    servers.kill("redis")
    for path in copy.rglob("*.aof*"):
        target = folder / path.relative_to(copy)
        target.write_bytes(path.read_bytes())
    for path in [path for path in folder.rglob("*.aof*") if not (copy / path.relative_to(folder)).exists()]:
        path.unlink()
    servers.start("redis")
    send_until_it_lives(pipeline, made[16_000:])
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 30_000


def test_what_only_the_aggregator_had_read_when_redis_forgot_it_is_a_recorded_gap(pipeline: Pipeline) -> None:
    """Seen by the aggregator, committed in its checkpoint, stored by nobody: only the ids in `raw_ticks` tell that it is gone."""
    made = [trade._replace(symbol="ONE", trade_id=1 + n) for n, trade in enumerate(trades())]
    pipeline.send(made[:8_000])
    pipeline.settle()
    for name in ("writer_0", "writer_1"):
        pipeline.kill(name)
    pipeline.send(made[8_000:8_012])
    last = pipeline.client.xinfo_stream("trades")["last-generated-id"].decode()
    pipeline.wait(lambda: pipeline.scalar("SELECT position_ms || '-' || position_seq FROM checkpoints") == last, 60, "checkpoint")
    pipeline.client.flushall()
    pipeline.start("writer_0", "writer_1")
    pipeline.send(made[8_012:])
    check_law_3(pipeline, made[-1])
    expected = [(made[8_000].trade_id, made[8_011].trade_id)]
    recorded = "SELECT first_id, last_id FROM gaps WHERE state = 'open'"
    pipeline.wait(lambda: pipeline.rows(recorded) == expected, 60, "recorded gap")


#: Ids that follow on each other, ids of a client, ids made of the content.
KINDS_OF_IDS = {"venue": ("binance.trade", 1, 1), "client": ("api.trade", 1, 3), "content": ("api", -1, -1)}


@pytest.mark.parametrize("kind", KINDS_OF_IDS)
def test_what_redis_forgot_and_comes_again_is_in_the_bars(pipeline: Pipeline, kind: str) -> None:
    """Only the aggregator had it; it comes again when the doubt is over and all marks are rebuilt. No producer runs here."""
    src, first_id, step = KINDS_OF_IDS[kind]
    five_us = 300_000_000  # all in one bar of 5m: until it closes, ids of it are remembered
    stamped = walk(3, 12_000, now_us() // five_us * five_us - five_us, 9_000)
    made = [trade._replace(symbol="ONE", trade_id=first_id + step * n) for n, trade in enumerate(stamped)]
    pipeline.send(made[:8_000], src)
    pipeline.settle()
    for name in ("writer_0", "writer_1"):
        pipeline.kill(name)
    pipeline.send(made[8_000:8_012], src)
    last = pipeline.client.xinfo_stream("trades")["last-generated-id"].decode()
    pipeline.wait(lambda: pipeline.scalar("SELECT position_ms || '-' || position_seq FROM checkpoints") == last, 60, "checkpoint")
    pipeline.client.flushall()
    pipeline.start("writer_0", "writer_1")
    pipeline.send(made[8_012:11_999], src)
    check_law_3(pipeline, made[11_998])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 11_987
    pipeline.send(made[8_000:8_012], src)
    pipeline.send(made[11_999:], src)
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 12_000
    assert pipeline.scalar("SELECT count(*) FROM gaps WHERE state = 'open'") == 0
    assert pipeline.scalar("SELECT count(*) FROM processed_bars WHERE status = 'gap'") == 0


def test_what_a_writer_commits_after_redis_forgot_it_is_in_the_bars(pipeline: Pipeline) -> None:
    """The doubt is over and its marks are rebuilt while the transaction is still under way: who commits tells of it."""
    five_us = 300_000_000
    stamped = walk(3, 10_000, now_us() // five_us * five_us - five_us, 9_000)
    made = [trade._replace(symbol="ONE", trade_id=1 + n) for n, trade in enumerate(stamped)]
    pipeline.send(made[:8_000])
    pipeline.settle()
    pipeline.rows(BLOCK_COMMIT + "SELECT pg_advisory_lock(42)")
    pipeline.send(made[8_000:8_012])
    pipeline.wait(lambda: pipeline.scalar(WAITING) == 1, 60, "writer inside its COMMIT")
    last = pipeline.client.xinfo_stream("trades")["last-generated-id"].decode()
    pipeline.wait(lambda: pipeline.scalar("SELECT position_ms || '-' || position_seq FROM checkpoints") == last, 60, "checkpoint")
    pipeline.client.flushall()
    is_over = "SELECT EXISTS (SELECT FROM gaps WHERE state = 'open') AND NOT EXISTS (SELECT FROM dirty_ranges WHERE due_us = 0)"
    pipeline.wait(lambda: pipeline.scalar(is_over), 60, "gap, and the end of the doubt")
    pipeline.rows("SELECT pg_advisory_unlock(42)")
    pipeline.send(made[8_012:])
    open_gaps = "SELECT count(*) FROM gaps WHERE state = 'open'"
    pipeline.wait(lambda: pipeline.scalar(open_gaps) == 0, 60, "end of the gap, and so the mark of who committed")
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 10_000
    assert pipeline.scalar(open_gaps) == 0


def test_a_flush_between_two_looks_is_noticed_though_new_entries_follow_at_once(pipeline: Pipeline) -> None:
    """Ids that need not follow on each other open no gap, so only the doubt mends the bars of what the flush hid from them."""
    made = [trade._replace(symbol="ONE", trade_id=-1 - n) for n, trade in enumerate(trades())]
    pipeline.send(made[:8_000], src="api")
    pipeline.settle()
    pipeline.processes["aggregator_0"].send_signal(signal.SIGSTOP)
    pipeline.send(made[8_000:9_000], src="api")
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == 9_000, 60, "stored ticks")
    pipeline.client.flushall()
    pipeline.send(made[9_000:], src="api")
    pipeline.processes["aggregator_0"].send_signal(signal.SIGCONT)
    check_law_3(pipeline, made[-1])
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 30_000
