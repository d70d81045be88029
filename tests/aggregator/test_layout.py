"""Another GEMS_SHARDS: refused while the old streams hold something unread, and without a trace in the bars once drained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.codec import encode_rows
from common.errors import ConfigError
from common.journal import Post
from common.layout import keep_layout, rows_by_stream
from common.lifecycle import EXIT_CONFIG
from common.settings import Settings
from common.streams import GROUP, EntryId, stream_of, streams_of
from common.trades import Trade
from ops.house import ROOT
from producer.batcher import Batch
from producer.importer import import_file
from producer.posted import respread
from producer.spool import Spool
from tests.aggregator.house import SECOND, START_US
from tests.aggregator.running import an_aggregator, the_tasks
from tests.consumer.running import a_writer, wait
from tests.pipeline import Pipeline
from web.app import close_app, create_app

CHECKPOINT = "INSERT INTO checkpoints VALUES (%s, 1, %s, %s, '', '{}', '', '') RETURNING 1"
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
            Pipeline(one, redis_client, database).rows(CHECKPOINT, shard, last.ms, 0)
    with pytest.raises(ConfigError, match=r"GEMS_SHARDS: is \d, and trades.* still holds trades .* start with GEMS_SHARDS=\d"):
        keep(of(one, after), redis_client, database)
    keep(of(one, before), redis_client, database)


@pytest.mark.parametrize("command", [["consumer", "--worker", "0"], ["aggregator", "--shard", "0"]])
def test_readers_end_with_78_and_a_sentence(one, redis_client, database, command):
    """Also where no layout was ever noted."""
    Pipeline(one, redis_client, database).send(trades(0, 3))
    environ = {**os.environ, **of(one, 3).to_env()}
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == EXIT_CONFIG and "trades of another number still holds trades" in done.stderr


@pytest.mark.parametrize("before, after", [(1, 3), (3, 2), (2, 1)])
def test_a_drained_layout_may_change_and_the_bars_do_not_show_it(one, redis_client, database, before, after):
    """Open bars, ids seen and watermarks go with their symbol: bars are of the ticks, though trades come again and late.

    The bars that go on are far from their end, so that no clock closes them while everything starts again.
    """
    pipeline = Pipeline(of(one, before), redis_client, database)
    for shards, first_s, last_s in ((before, 0, 122), (after, 122, 190)):
        pipeline.settings = of(one, shards)
        aggregators = [an_aggregator(pipeline.settings, shard) for shard in range(shards)]
        with a_writer(pipeline.settings), the_tasks(pipeline.settings):
            for each in aggregators:
                each.__enter__()
            try:
                wait(lambda: redis_client.get("layout") == str(shards).encode(), "noted layout")  # noqa: B023
                pipeline.send(trades(max(0, first_s - 20), last_s), rows=37)
                pipeline.settle()
            finally:
                for each in aggregators:
                    each.__exit__(None, None, None)
        assert pipeline.differences() == []
    assert redis_client.get("layout") == str(after).encode()
    assert pipeline.scalar("SELECT max(revision) FROM processed_bars WHERE timeframe <> '1s'") == 0
    assert pipeline.scalar("SELECT count(*) FROM checkpoints") == after and len(streams_of(after)) == after


def drained(settings: Settings, client, database) -> None:
    """What there is of these streams is stored and in bars, and noted."""
    keep(settings, client, database)
    pipeline = Pipeline(settings, client, database)
    pipeline.send(trades(0, 3))
    for shard, stream in enumerate(streams_of(settings.shards)):
        client.xgroup_create(stream, GROUP, id="$", mkstream=True)
        last = EntryId.parse(client.xinfo_stream(stream)["last-generated-id"])
        pipeline.rows(CHECKPOINT, shard, last.ms, last.seq)


def post(settings: Settings) -> tuple[int, str]:
    app = create_app(settings)
    body = [{"symbol": symbol, "ts": START_US, "price": "1", "size": "1"} for symbol in SYMBOLS]
    answer = app.test_client().post("/api/ingestion/ingest/", json={"ticks": body})
    close_app(app)
    return answer.status_code, answer.get_data(as_text=True)


def ndjson(path: Path) -> Path:
    path.write_text("".join(f'{{"symbol":"{symbol}","ts":{START_US},"price":1,"size":1}}\n' for symbol in SYMBOLS))
    return path


@pytest.mark.parametrize("before, after", [(2, 3), (3, 2), (1, 2)])
@pytest.mark.parametrize("way", ["web", "importer"])
def test_who_appends_first_after_a_change_does_not_make_readers_refuse(
    one, redis_client, database, tmp_path, way, before, after
):
    """Streams of both numbers have names in common: a new entry in one of them is not an old one that nobody has read."""
    new = of(one, after)
    drained(of(one, before), redis_client, database)
    if way == "web":
        assert post(new)[0] == 202
    else:
        assert import_file(new, ndjson(tmp_path / "x.ndjson")).accepted == len(SYMBOLS)
    keep(new, redis_client, database)
    with pytest.raises(ConfigError, match="still holds trades"):
        keep(of(one, before), redis_client, database)


def test_who_appends_is_refused_too_while_the_old_streams_hold_something(one, redis_client, database, tmp_path):
    keep(of(one, 2), redis_client, database)
    Pipeline(of(one, 2), redis_client, database).send(trades(0, 3))
    before = {stream: redis_client.xlen(stream) for stream in streams_of(3)}
    status, sentence = post(of(one, 3))
    assert status == 503 and "start with GEMS_SHARDS=2" in sentence
    with pytest.raises(ConfigError, match="start with GEMS_SHARDS=2"):
        import_file(of(one, 3), ndjson(tmp_path / "x.ndjson"))
    for command in (["producer"], ["producer.importer"]):
        environ = {**os.environ, **of(one, 3).to_env()}
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == EXIT_CONFIG and "start with GEMS_SHARDS=2" in done.stderr
    assert {stream: redis_client.xlen(stream) for stream in streams_of(3)} == before


def test_a_spool_of_another_layout_goes_to_the_streams_of_today(one, redis_client, database):
    drained(of(one, 2), redis_client, database)
    spool = Spool(one.data_dir / "spool", 1 << 20)
    for symbol in SYMBOLS:
        rows = encode_rows([trade for trade in trades(100, 103) if trade.symbol == symbol])
        spool.append([Batch(stream_of(symbol, 2), "binance.trade", 6, rows)])
    spool.close()
    new = of(one, 3)
    process = subprocess.Popen([sys.executable, "-m", "producer"], cwd=ROOT, env={**os.environ, **new.to_env()})
    try:
        wait(lambda: not list((one.data_dir / "spool").glob("*.spool")), "empty spool", 60)
        assert redis_client.get("layout") == b"3"
    finally:
        process.terminate()
        assert process.wait(30) == 0
    keep(new, redis_client, database)
    with a_writer(new):
        wait(lambda: Pipeline(new, redis_client, database).scalar("SELECT count(*) FROM raw_ticks") >= 24, "stored", 60)
    placed = {(row.split(",")[0], stream) for stream in streams_of(3) for _, fields in redis_client.xrange(stream)
              for row in fields[b"rows"].decode().split() if int(row.split(",")[1]) >= 200}  # fmt: skip
    assert placed == {(symbol, stream_of(symbol, 3)) for symbol in SYMBOLS}


def test_posts_and_batches_of_another_layout_are_spread_anew():
    rows = encode_rows(trades(0, 3))
    again = respread(Post("trades", "1-1", "api", 24, rows), 3)
    assert sum(each.n for each in again) == 24 and {each.stream for each in again} == {stream_of(name, 3) for name in SYMBOLS}
    back = [row for each in again for row in each.rows.split("\n") if row]
    assert sorted(back) == sorted(rows.split()) and rows_by_stream(rows, 1) == {"trades": rows}
    for name in SYMBOLS:
        assert [row for row in back if row.startswith(name)] == [row for row in rows.split() if row.startswith(name)]


def test_a_layout_that_was_drained_once_stays_so(one, redis_client, database):
    """Of its third stream no aggregator has a checkpoint any more."""
    drained(of(one, 3), redis_client, database)
    keep(of(one, 2), redis_client, database)
    Pipeline(one, redis_client, database).rows("DELETE FROM checkpoints WHERE shard = 2 RETURNING 1")
    keep(of(one, 1), redis_client, database)
    Pipeline(of(one, 3), redis_client, database).send(trades(3, 4))
    with pytest.raises(ConfigError, match=r"trades\{m2\} of another number still holds trades"):
        keep(of(one, 2), redis_client, database)
