"""Half a real day of Binance's BTCUSDT, in whole (by hand) or its first hour (always): our candles are Binance's own."""

import csv
import json
import subprocess
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard

from ops.house import ROOT
from producer.importer import import_file
from tests import WHOLE
from tests.pipeline import a_pipeline
from tests.processes.house import Instance, an_instance, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

SHARED = ROOT.parent / "shared" / "data"
FILE = SHARED / "trades" / "binance_spot_BTCUSDT_aggTrades_2024-01-01_00-12h.csv.zst"
NAME = "BTCUSDT-aggTrades-2024-01-01.csv"
#: The whole half day takes about a minute longer: GEMS_TEST_WHOLE=1.
HOURS = 12 if WHOLE else 1
LENGTHS_MS = {"5m": 300_000, "15m": 900_000, "1h": 3_600_000}
CANDLES = """
SELECT extract(epoch FROM timestamp)::bigint * 1000, open, high, low, close, volume FROM processed_bars
WHERE symbol = 'BTCUSDT' AND timeframe = 'TIMEFRAME' AND timestamp < '2025-01-01'
"""
CLOSED = "SELECT count(*) FROM processed_bars WHERE timeframe = '5m'"
TICKS = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM raw_ticks t"
BARS = "SELECT timeframe, count(*), sum(hashtextextended(b::text, 0)) FROM processed_bars b GROUP BY timeframe ORDER BY timeframe"
START_MS = 1_704_067_200_000
#: The market's time goes on where a busy machine holds up the trades of the past, and closes bars that they belong to.
PATIENCE_MS = 6_000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The file as Binance publishes it, cut after some hours, and how many trades it has."""
    if not FILE.exists():
        pytest.skip(f"the real trades are not here: {FILE}")
    with zstandard.open(FILE, "rt") as lines:
        kept = [line for line in lines if int(line.split(",")[5]) < START_MS + HOURS * 3_600_000]
    path = tmp_path_factory.mktemp("archive") / NAME
    path.write_text("".join(kept))
    path.parent.chmod(0o755)
    return path, len(kept)


def binance_candles(timeframe: str) -> dict[int, list[Decimal]]:
    """Binance's own candles: open time in ms -> open, high, low, close, volume."""
    path = SHARED / "klines" / f"binance_spot_BTCUSDT_{timeframe}_2024-01-01_00-12h.csv"
    with path.open() as rows:
        candles = {int(row["open_time_ms"]): [Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")]
                   for row in csv.DictReader(rows)}  # fmt: skip
    return {at: candle for at, candle in candles.items() if at < START_MS + HOURS * 3_600_000}


def psql(instance: Instance, query: str) -> list[list[str]]:
    """Rows of a query, by the instance's own client."""
    done = instance.run("psql", "--", "-At", "-F", ",", "-c", query)
    assert done.returncode == 0, done.stdout
    return [line.split(",") for line in done.stdout.splitlines()]


def our_candles(instance: Instance, timeframe: str) -> dict[int, list[Decimal]]:
    rows = psql(instance, CANDLES.replace("TIMEFRAME", timeframe))
    return {int(at): [Decimal(value) for value in values] for at, *values in rows}


def check_candles(instance: Instance, trades: int) -> None:
    ticks = "SELECT count(*) FROM raw_ticks WHERE symbol = 'BTCUSDT'"
    wait_until(lambda: psql(instance, ticks) == [[str(trades)]], 150, f"{trades} stored trades")
    expected = {timeframe: binance_candles(timeframe) for timeframe in LENGTHS_MS}
    whole = {timeframe: len(candles) for timeframe, candles in expected.items()}
    wait_until(lambda: {t: len(our_candles(instance, t)) for t in LENGTHS_MS} == whole, 60, f"as many candles: {whole}")
    for timeframe, candles in expected.items():
        ours = our_candles(instance, timeframe)
        assert {at: candle[:4] for at, candle in ours.items()} == {at: candle[:4] for at, candle in candles.items()}
        assert all(abs(ours[at][4] - candle[4]) <= Decimal("1e-6") for at, candle in candles.items())


def through_the_exchange(instance: Instance, archive: Path) -> None:
    instance.environ |= {"GEMS_SIM_PLAY": str(archive), "GEMS_SIM_SPEED": "max", "GEMS_FEED_KIND": "aggTrade"}
    instance.environ |= {"GEMS_SYMBOLS": "BTCUSDT", "GEMS_PAIRS": ""}
    instance.up()


def through_upload(instance: Instance, archive: Path) -> None:
    instance.environ |= {"GEMS_SYMBOLS": "ETHUSDT,SOLUSDT", "GEMS_PAIRS": ""}
    instance.up()
    command = ["curl", "-sf", "-F", f"file=@{archive}", f"{instance.url}/api/ingestion/upload/"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert answer["status"] == "processing" and answer["filename"] == NAME
    with urllib.request.urlopen(f"{instance.url}/api/tasks/{answer['task_id']}/", timeout=60) as told:
        assert json.load(told)["state"] in ("queued", "running", "done")


@pytest.mark.parametrize("feed", [through_the_exchange, through_upload])
def test_candles_of_the_real_trades_are_binances_own(
    archive: tuple[Path, int], feed: Callable[[Instance, Path], None]
) -> None:
    path, trades = archive
    with an_instance(GEMS_TIMEFRAMES="1s,5m,15m,1h", GEMS_LATENESS_MS=str(PATIENCE_MS)) as instance:
        feed(instance, path)
        check_candles(instance, trades)
        assert psql(instance, "SELECT max(revision) FROM processed_bars WHERE symbol = 'BTCUSDT'") == [["0"]]


def test_the_same_half_day_twice_raises_no_revision(archive, settings, redis_client, database):
    path, trades = archive
    settings = settings.model_copy(update={"lateness_ms": PATIENCE_MS})
    with a_pipeline(settings, redis_client, database, "writer_0", "writer_1", "aggregator_0", "tasks") as pipeline:
        tables = []
        for _ in range(2):
            assert import_file(settings, path).accepted == trades
            pipeline.settle(150, closed=lambda: pipeline.scalar(CLOSED) == 12 * HOURS)
            tables.append([*pipeline.rows(TICKS), *pipeline.rows(BARS)])
        assert tables[0] == tables[1] and tables[0][0][0] == trades
        assert pipeline.scalar("SELECT max(revision) FROM processed_bars") == 0
        assert pipeline.scalar("SELECT sum(repeated) FROM writer_positions") == trades
        assert pipeline.scalar("SELECT count(*) FROM dead_letters") == 0 and pipeline.differences() == []
