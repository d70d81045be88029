"""Trades of BTCUSDT and ETHUSDT as others recorded them: without ids, some of price 0, some twice, some out of order."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from ops.house import ROOT
from producer.importer import import_file
from tests.pipeline import Pipeline, a_pipeline
from tests.processes.test_pipeline import ALL

pytestmark = pytest.mark.process
SHARED = ROOT.parent / "shared" / "data" / "pair_ticks"
RECORDINGS = sorted(SHARED.glob("*.csv.zst"))
#: Zero rows of each, by the part of its name that says whose it is.
ZERO_ROWS = {"SiddhiBagul": 44, "adityagorave21": 4, "yash4488": 0, "Ameya32": 0}


@pytest.fixture
def pipeline(settings, redis_client, database) -> Iterator[Pipeline]:
    with a_pipeline(settings, redis_client, database, *ALL) as running:
        yield running


def rows_of(recording: Path) -> list[dict[str, str]]:
    with zstandard.open(recording, "rt") as lines:
        return list(csv.DictReader(lines))


def as_ticks(rows: list[dict[str, str]], path: Path) -> Path:
    """The recording as clients send files: symbol, ts, price, size, side."""
    sides = {"1": "sell", "true": "sell", "0": "buy", "false": "buy", "": ""}
    lines = [
        ",".join((row["symbol"], row["time_ms"], row["price"], row["qty"], sides[row.get("is_buyer_maker", "").lower()])) + "\n"
        for row in rows
    ]
    path.write_text("symbol,ts,price,size,side\n" + "".join(lines))
    return path


@pytest.mark.skipif(not RECORDINGS, reason=f"the recordings are not here: {SHARED}")
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_zero_rows_are_dead_letters_and_bars_are_what_is_stored(pipeline: Pipeline, tmp_path: Path, recording: Path) -> None:
    rows = rows_of(recording)
    zero = [row for row in rows if float(row["price"]) == 0]
    assert len(zero) == next(count for name, count in ZERO_ROWS.items() if name in recording.name)
    counts = import_file(pipeline.settings, as_ticks(rows, tmp_path / "ticks.csv"))
    assert (counts.accepted, counts.rejected) == (len(rows) - len(zero), len(zero))
    pipeline.settle()
    letters = Counter(pipeline.rows("SELECT field, reason LIKE '%above 0%' FROM dead_letters"))
    assert letters == Counter({("price", True): len(zero)} if zero else {})
    kept = Counter(row["symbol"] for row in rows if row not in zero)
    assert dict(pipeline.rows("SELECT symbol, count(*) FROM raw_ticks GROUP BY symbol")) == dict(kept)
    assert pipeline.differences() == []


@pytest.mark.skipif(not RECORDINGS, reason=f"the recordings are not here: {SHARED}")
def test_a_recording_twice_is_the_recording_once(pipeline: Pipeline, tmp_path: Path) -> None:
    path = as_ticks(rows_of(RECORDINGS[0]), tmp_path / "ticks.csv")
    import_file(pipeline.settings, path)
    pipeline.settle()
    once = pipeline.rows("SELECT * FROM processed_bars ORDER BY symbol, timeframe, timestamp")
    ticks = pipeline.scalar("SELECT count(*) FROM raw_ticks")
    import_file(pipeline.settings, path)
    pipeline.settle()
    assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == ticks
    assert pipeline.rows("SELECT * FROM processed_bars ORDER BY symbol, timeframe, timestamp") == once
    assert pipeline.differences() == []
