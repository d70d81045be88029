"""`./gems verify` finds exactly what was broken, mends what can be mended, and finds nothing on a busy pipeline that works."""

import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from common.database import connect_database
from common.partitions import ensure_tick_leaves
from common.settings import Settings
from common.streams import connect_redis
from common.trades import US_PER_DAY, Trade, from_us
from ops.cli import gems, main
from ops.house import House
from tests.pipeline import FOLLOWERS, Pipeline, a_pipeline

pytestmark = pytest.mark.process
#: Of each kind that is compared in another way: by a formula, by a task.
PAIRS = "SYM0_SYM1,SYM0_SYM1@tls+log+prior,SYM1_SYM0@kalman+log:15,SYM1_SYM2@ols+strict,SYM0_SYM1_SYM2"
KEPT = ("raw_ticks", "processed_bars", "bar_revisions", "spread_analytics", "gaps", "writer_positions", "dirty_ranges")
#: Series whose first rows are still to come: those of a task are a little later than the bars.
WITHOUT_ROWS = """
SELECT count(*) FROM (
    SELECT symbol_pair, timeframe, window_bars, method FROM pair_series
    EXCEPT SELECT symbol_pair, timeframe, window_bars, method FROM spread_analytics) AS without
"""
POSITIONS, COUNTERS = "positions in the stream", "ticks as counted by the workers"
IDS, REPEATS = "exchange ids follow on each other", "no id on two days"
ROWS = "pair rows are what the bars say"
BARS = {name: f"{name} bars are what the ticks say" for name in ("1s", "1m", "5m")}


def walk(count: int, start_us: int, step_us: int, seed: int = 1) -> list[Trade]:
    """Three symbols, contiguous ids, prices that go together."""
    rng, ids, price, trades = random.Random(seed), [1000] * 3, 4_300_000, []
    for n in range(count):
        code = n % 3
        ids[code] += 1
        price += rng.randint(-50, 50)
        amounts = f"{price // (code + 1) / 100:.2f}", f"{rng.randint(1, 10**6) / 10**5:.5f}"
        trades.append(Trade(f"SYM{code}", ids[code], start_us + n * step_us, *amounts, "bs"[n % 2]))
    return trades


def verify(settings: Settings, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report."""
    command = ["verify", "--data-dir", str(settings.data_dir), "--json", *arguments]
    result = CliRunner().invoke(gems, command, standalone_mode=False, catch_exceptions=False)
    return result.return_value, json.loads(result.stdout)


def found(report: dict[str, Any]) -> dict[str, int]:
    """Findings by check, without the checks that have none."""
    return {check["name"]: check["found"] for check in report["checks"] if check["found"]}


def check_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in report["checks"] if check["name"] == name)


def settings_on(database_url: str, redis_url: str, data_dir: Path) -> Settings:
    servers = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir}
    settings = Settings.from_env({}, **servers, symbols="SYM0,SYM1,SYM2", pairs=PAIRS, window=10)
    House(data_dir).remember(settings)
    return settings


@pytest.fixture(scope="module")
def at_rest(servers, fresh_databases, tmp_path_factory) -> Iterator[Pipeline]:
    """A pipeline that has taken 12,000 trades of five minutes; SYM2 has a gap of three ids that is known.

    They end with their bars: none is left that the clock would close among what a test has broken.
    """
    with fresh_databases.one() as url:
        settings = settings_on(url, servers.redis_url(), tmp_path_factory.mktemp("verify"))
        database = connect_database(settings, "test")
        with connect_redis(settings) as client:
            client.flushall()
            with a_pipeline(settings, client, database, "writer_0", "aggregator_0", "tasks") as pipeline:
                start_us = time.time_ns() // 1000 - 700_000_000
                trades = walk(12_000, start_us - start_us % 300_000_000, 25_000)
                gone = [trade for trade in trades if trade.symbol == "SYM2"][1500:1503]
                pipeline.send([trade for trade in trades if trade not in gone])
                pipeline.settle(closed=lambda: pipeline.scalar(WITHOUT_ROWS) == 0)
                for table in KEPT:
                    run(pipeline, f"CREATE TABLE kept_{table} AS TABLE {table}")
                yield pipeline
        database.close()


@pytest.fixture
def broken(at_rest: Pipeline) -> Iterator[Pipeline]:
    """The same; whatever the test does to its tables is undone."""
    yield at_rest
    at_rest.wait(lambda: at_rest.scalar(FOLLOWERS) == 0, 60, "end of what follows a repair")
    with at_rest.database, at_rest.database.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(KEPT)} IN SHARE ROW EXCLUSIVE MODE")  # against a task that still writes
        for table in KEPT:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
            cursor.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # noqa: S608


def run(pipeline: Pipeline, statement: str, *params: Any) -> int:
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.rowcount


def one_bar(pipeline: Pipeline, timeframe: str) -> Any:
    return pipeline.scalar("SELECT min(timestamp) FROM processed_bars WHERE symbol = 'SYM0' AND timeframe = %s", timeframe)


def test_all_laws_hold_on_what_the_pipeline_made(broken):
    code, report = verify(broken.settings, "--deep")
    assert (code, found(report)) == (0, {}), report
    assert check_of(report, COUNTERS)["checked"] == 11_997
    assert check_of(report, IDS)["checked"] == 11_997
    assert check_of(report, IDS)["known"] == ["SYM2 ids 2501 to 2503 (3 ids): an open gap"]
    stored = dict(broken.rows("SELECT timeframe, count(*) FROM processed_bars GROUP BY 1"))
    assert {name: check_of(report, title)["checked"] for name, title in BARS.items()} == stored
    assert check_of(report, ROWS)["checked"] == broken.scalar("SELECT count(*) FROM spread_analytics") > 300


@pytest.mark.parametrize(
    ("timeframe", "column", "amount"),
    [
        ("1s", "open", "1"), ("1m", "high", "1"), ("5m", "low", "-1"), ("1s", "close", "0.01"), ("1m", "volume", "0.00000001"),
        ("5m", "tick_count", "1"), ("1s", "quote_volume", "1"), ("1m", "taker_buy_volume", "1"),
        ("1s", "taker_buy_quote_volume", "1"), ("5m", "first_trade_id", "-1"), ("1s", "last_trade_id", "1"),
        ("1m", "vwap", "vwap * 2e-12"),
    ],
)  # fmt: skip
def test_a_changed_bar_is_found(broken, timeframe, column, amount):
    change = f"UPDATE processed_bars SET {column} = {column} + {amount}"  # noqa: S608
    change += " WHERE symbol = 'SYM0' AND timeframe = %s AND timestamp = %s"
    assert run(broken, change, timeframe, one_bar(broken, timeframe)) == 1
    code, report = verify(broken.settings, "--symbol", "SYM0")
    assert (code, found(report)) == (1, {BARS[timeframe]: 1})
    assert f" wrong: {column} " in check_of(report, BARS[timeframe])["findings"][0]["what"]


def test_a_repair_mends_bars_that_were_changed_lost_or_invented(broken):
    run(broken, "UPDATE processed_bars SET volume = volume * 2 WHERE timestamp = %s AND timeframe = '1s'", one_bar(broken, "1s"))
    run(broken, "DELETE FROM processed_bars WHERE symbol = 'SYM1' AND timeframe = '5m'")
    run(
        broken,
        "INSERT INTO processed_bars SELECT symbol, timeframe, timestamp - interval '300 s', open, high, low, close, volume,"
        " tick_count, quote_volume, vwap, taker_buy_volume, first_trade_id, last_trade_id, status FROM processed_bars"
        " WHERE symbol = 'SYM2' AND timeframe = '1m' ORDER BY timestamp LIMIT 1",
    )
    before = broken.scalar("SELECT count(*) FROM processed_bars WHERE timeframe = '1m'")
    code, report = verify(broken.settings)
    lost = broken.scalar("SELECT count(*) FROM kept_processed_bars WHERE symbol = 'SYM1' AND timeframe = '5m'")
    changed = broken.scalar(
        "SELECT count(*) FROM processed_bars b JOIN kept_processed_bars k USING (symbol, timeframe, timestamp)"
        " WHERE b.volume <> k.volume"
    )
    assert lost and changed and (code, found(report)) == (1, {BARS["1s"]: changed, BARS["1m"]: 1, BARS["5m"]: lost})
    code, report = verify(broken.settings, "--repair")
    assert (code, found(report)) == (0, {}) and found(report["before_repair"])
    assert broken.scalar("SELECT count(*) FROM processed_bars WHERE timeframe = '1m'") == before - 1
    assert broken.scalar("SELECT max(revision) FROM processed_bars WHERE timeframe = '1s'") == 1


def test_a_lost_tick_is_a_hole_a_wrong_count_and_wrong_bars(broken):
    lost = broken.rows("DELETE FROM raw_ticks WHERE symbol = 'SYM0' AND trade_id = 2000 RETURNING timestamp")[0][0]
    code, report = verify(broken.settings)
    told = found(report)
    closed = [name for name, s in (("1s", 1), ("1m", 60), ("5m", 300)) if broken.scalar(
        "SELECT count(*) FROM processed_bars WHERE symbol = 'SYM0' AND timeframe = %s"
        " AND timestamp = date_bin(%s * interval '1 s', %s, 'epoch')", name, s, lost)]  # fmt: skip
    assert code == 1 and told == {COUNTERS: 1, IDS: 1, **{BARS[name]: 1 for name in closed}}
    hole = check_of(report, IDS)["findings"][0]
    assert (hole["first_id"], hole["last_id"]) == (2000, 2000) and "1 fewer" in check_of(report, COUNTERS)["findings"][0]["what"]
    code, report = verify(broken.settings, "--repair")
    assert (code, found(report)) == (1, {COUNTERS: 1}), "bars are mended, the hole is a gap now, the tick stays lost"
    assert broken.scalar("SELECT state FROM gaps WHERE first_id = 2000") == "open"
    assert broken.scalar("SELECT count(*) FROM processed_bars WHERE symbol = 'SYM0' AND status = 'gap'") >= len(closed)


def test_an_id_on_two_days_is_found(broken):
    at_us = broken.scalar("SELECT (extract(epoch FROM min(timestamp)) * 1000000)::bigint FROM raw_ticks") - US_PER_DAY
    ensure_tick_leaves(broken.database, [from_us(at_us).date()])
    run(broken, "INSERT INTO raw_ticks VALUES ('SYM1', 1500, %s, 42, 1, 'b')", from_us(at_us))
    code, report = verify(broken.settings)
    assert code == 1 and found(report) == {COUNTERS: 1, REPEATS: 1, **dict.fromkeys(BARS.values(), 1)}
    assert "SYM1 ids 1500 are stored on" in check_of(report, REPEATS)["findings"][0]["what"]
    code, report = verify(broken.settings, "--from", f"{from_us(at_us + US_PER_DAY):%Y-%m-%d}")
    assert (code, found(report)) == (0, {}), "the other day was not asked for"


def test_a_hole_that_no_gap_covers_is_found_and_recorded(broken):
    run(broken, "DELETE FROM gaps")
    code, report = verify(broken.settings, "--symbol", "SYM2")
    assert (code, found(report)) == (1, {IDS: 1})
    assert verify(broken.settings, "--symbol", "SYM1")[0] == 0
    code, report = verify(broken.settings, "--repair")
    assert (code, found(report)) == (0, {})
    assert broken.rows("SELECT symbol, first_id, last_id, state FROM gaps") == [("SYM2", 2501, 2503, "open")]


def test_positions_ahead_of_the_stream_and_wrong_counters_are_found(broken):
    run(broken, "UPDATE writer_positions SET position_ms = position_ms + 1000000000, stored = stored + 1")
    code, report = verify(broken.settings)
    assert (code, found(report)) == (1, {POSITIONS: 1, COUNTERS: 1})


def test_bars_under_an_open_mark_are_left_out(broken):
    at = one_bar(broken, "1m")
    run(broken, "UPDATE processed_bars SET close = close + 1 WHERE (symbol, timeframe, timestamp) = ('SYM0', '1m', %s)", at)
    at_us = int(at.timestamp()) * 1_000_000
    mark = "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, due_us)"
    run(broken, f"{mark} VALUES ('SYM0', %s, %s, 'trades', 0, 0, 'a test', %s)", at_us, at_us, 2**60)
    code, report = verify(broken.settings)
    assert (code, found(report), report["pending"]) == (0, {}, 1)


@pytest.mark.parametrize("method", ["ols", "tls+log+prior", "kalman+log", "ols+strict"])
def test_a_changed_pair_row_is_found_deep_and_mended(broken, method):
    rows = "SELECT timestamp FROM spread_analytics WHERE timeframe = '1s' AND method = %s AND abs(z_score) > 1"
    middle = broken.scalar(rows + " ORDER BY timestamp OFFSET 20 LIMIT 1", method)
    change = "UPDATE spread_analytics SET z_score = z_score * (1 + 1e-7), intercept = intercept + 0.001 WHERE timestamp = %s"
    run(broken, change + " AND timeframe = '1s' AND method = %s AND leg_prices IS NULL", middle, method)
    assert verify(broken.settings)[0] == 0
    code, report = verify(broken.settings, "--deep")
    assert (code, found(report)) == (1, {ROWS: 1})
    what = check_of(report, ROWS)["findings"][0]["what"]
    assert "z_score" in what and "intercept" in what and "rolling_mean" not in what
    code, report = verify(broken.settings, "--deep", "--repair")
    assert (code, found(report)) == (0, {})


def test_a_lost_pair_row_and_one_that_no_bars_stand_for_are_found_and_mended(broken):
    for method in ("ols", "kalman+log"):
        rows = "SELECT timestamp FROM spread_analytics WHERE timeframe = '1s' AND method = %s AND leg_prices IS NULL"
        middle = broken.scalar(rows + " ORDER BY timestamp OFFSET 50 LIMIT 1", method)
        where = " WHERE timestamp = %s AND timeframe = '1s' AND method = %s AND leg_prices IS NULL"
        run(broken, "UPDATE spread_analytics SET timestamp = timestamp + interval '500 ms'" + where, middle, method)  # noqa: S608
    code, report = verify(broken.settings, "--deep")
    assert (code, found(report)) == (1, {ROWS: 4})
    told = "\n".join(finding["what"] for finding in check_of(report, ROWS)["findings"])
    assert told.count("is missing") == told.count("no bars say so") == 2
    code, report = verify(broken.settings, "--deep", "--repair")
    assert (code, found(report)) == (0, {})


def test_a_pair_row_whose_bars_wait_for_a_rebuild_is_left_out(broken):
    middle = broken.scalar("SELECT timestamp FROM spread_analytics WHERE timeframe = '1s' ORDER BY timestamp OFFSET 100 LIMIT 1")
    change = "UPDATE spread_analytics SET z_score = z_score + 1 WHERE timestamp = %s AND timeframe = '1s'"
    run(broken, change + " AND method = 'ols' AND leg_prices IS NULL", middle)
    mark = (
        "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
        " SELECT 'SYM1', us, us, 'trades', 0, 0, 'test'"
        " FROM (SELECT (extract(epoch FROM %s::timestamptz) * 1000000)::bigint AS us) AS at"
    )
    broken.processes["tasks"].send_signal(signal.SIGSTOP)  # nobody rebuilds meanwhile
    try:
        run(broken, mark, middle)
        code, report = verify(broken.settings, "--deep")
        by_task = broken.scalar("SELECT count(*) FROM pair_series WHERE method LIKE 'kalman%%' OR cardinality(symbols) > 2")
        told = code, found(report), check_of(report, ROWS)["pending"]
        assert told == (0, {}, 1 + by_task), "nobody does tasks"
        run(broken, "DELETE FROM dirty_ranges")
        assert found(verify(broken.settings, "--deep")[1]) == {ROWS: 1}
    finally:
        broken.processes["tasks"].send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "arguments", [["--from", "yesterday"], ["--from", "2026-02-02", "--to", "2026-02-01"], ["--symbol", "btc"], ["--deeper"]]
)
def test_bad_arguments_end_with_78(at_rest, monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["gems", "verify", "--data-dir", str(at_rest.settings.data_dir), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 78 and capsys.readouterr().err.startswith("gems: ")


def test_the_table_says_what_was_checked(at_rest):
    command = ["verify", "--data-dir", str(at_rest.settings.data_dir)]
    result = CliRunner().invoke(gems, command, standalone_mode=False, catch_exceptions=False)
    assert result.return_value == 0 and result.stdout.endswith("laws 1 to 3 hold\n")
    assert "an open gap" in result.stdout
