"""Another GEMS_SHARDS: refused while the old streams hold something unread, and without a trace in the bars once drained."""

import os
import subprocess
import sys

import pytest

from common.errors import ConfigError
from common.layout import keep_layout
from common.lifecycle import EXIT_CONFIG
from common.settings import Settings
from common.streams import EntryId, streams_of
from common.trades import Trade
from ops.house import ROOT
from tests.aggregator.house import SECOND, START_US
from tests.aggregator.running import an_aggregator, the_tasks
from tests.consumer.running import a_writer, wait
from tests.pipeline import Pipeline

SYMBOLS = ("SYM0", "SYM1", "SYM2", "SYM3")


@pytest.fixture
def one(settings) -> Settings:
    return settings.model_copy(update={"symbols": SYMBOLS, "pairs": (), "lateness_ms": 200})


def of(settings: Settings, shards: int) -> Settings:
    return settings.model_copy(update={"shards": shards})


def trades(first_s: int, last_s: int) -> list[Trade]:
    steps = [(n, symbol) for n in range(first_s * 2, last_s * 2) for symbol in SYMBOLS]
    return [Trade(symbol, n, START_US + n * SECOND // 2, str(100 + n % 9), "0.5", "b") for n, symbol in steps]


def keep(settings: Settings, client, database) -> None:
    keep_layout(settings, client, database)


@pytest.mark.parametrize("before, after", [(1, 3), (3, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("reader", ["nobody", "writers alone", "aggregators alone"])
def test_unread_entries_of_another_layout_are_named(one, redis_client, database, before, after, reader):
    keep(of(one, before), redis_client, database)
    Pipeline(of(one, before), redis_client, database).send(trades(0, 3))
    if reader == "writers alone":
        with a_writer(of(one, before)):
            wait(lambda: Pipeline(one, redis_client, database).scalar("SELECT count(*) FROM raw_ticks") == 24, "stored")
    if reader == "aggregators alone":
        last = EntryId(2**50, 0)
        for shard in range(before):
            Pipeline(one, redis_client, database).rows(
                "INSERT INTO checkpoints VALUES (%s, 1, %s, 0, '', '{}', '', '') RETURNING 1", shard, last.ms
            )
    with pytest.raises(ConfigError, match=r"GEMS_SHARDS: is \d, and trades.* still holds trades .* start with GEMS_SHARDS=\d"):
        keep(of(one, after), redis_client, database)
    keep(of(one, before), redis_client, database)


@pytest.mark.parametrize("command", [["consumer", "--worker", "0"], ["aggregator", "--shard", "0"]])
def test_readers_end_with_78_and_a_sentence(one, redis_client, database, command):
    """Also where no layout was ever noted."""
    Pipeline(one, redis_client, database).send(trades(0, 3))
    environ = {**os.environ, **of(one, 3).to_env()}
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == EXIT_CONFIG and "trades of another number still holds trades" in done.stderr


@pytest.mark.parametrize("before, after", [(1, 3), (3, 2), (2, 1)])
def test_a_drained_layout_may_change_and_the_bars_do_not_show_it(one, redis_client, database, before, after):
    """Open bars, ids seen and watermarks go with their symbol: bars are of the ticks, though trades come again and late."""
    pipeline = Pipeline(of(one, before), redis_client, database)
    for shards, first_s, last_s in ((before, 0, 100), (after, 100, 190)):
        pipeline.settings = of(one, shards)
        aggregators = [an_aggregator(pipeline.settings, shard) for shard in range(shards)]
        with a_writer(pipeline.settings), the_tasks(pipeline.settings):
            for each in aggregators:
                each.__enter__()
            try:
                wait(lambda: redis_client.get("layout") == str(shards).encode(), "noted layout")  # noqa: B023
                pipeline.send(trades(max(0, first_s - 20), last_s), rows=37)
                pipeline.settle(40)
            finally:
                for each in aggregators:
                    each.__exit__(None, None, None)
        assert pipeline.differences() == []
    assert redis_client.get("layout") == str(after).encode()
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars WHERE timeframe <> '1s'") == 0
    assert pipeline.scalar("SELECT count(*) FROM checkpoints") == after and len(streams_of(after)) == after
