"""Half a real day of Binance's BTCUSDT through a line that drops, repeats, reorders and breaks: all trades, Binance's candles."""

import csv
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from common.sources import register_source
from common.trades import Trade
from tests import WHOLE
from tests.exchange.running import RunningExchange, running_exchange
from tests.pipeline import a_pipeline
from tests.processes.feeding import fact, feed_settings, producing
from tests.processes.test_real_half_day import LENGTHS_MS, archive, binance_candles

__all__ = ["archive"]  # a fixture

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]

CUT_EVERY_S = 5.0 if WHOLE else 0.5
FAULTS = {"drop": 0.01, "duplicate": 0.05, "reorder": 0.02, "malformed": 0.01, "unknown": 0.01}
ALL = ("writer_0", "writer_1", "aggregator_0", "tasks")
CANDLES = """
SELECT extract(epoch FROM timestamp)::bigint * 1000, open, high, low, close, volume FROM processed_bars
WHERE symbol = 'BTCUSDT' AND timeframe = %s ORDER BY 1
"""
COUNT = "SELECT count(*) FROM raw_ticks"


def first_trade(path: Path) -> Trade:
    with path.open() as file:
        row = next(csv.reader(file))
    side = "s" if row[6].lower() == "true" else "b"
    return Trade("BTCUSDT", int(row[0]), int(row[5]) * 1000, row[1], row[2], side)


@contextmanager
def cutting(exchange: RunningExchange) -> Iterator[list[int]]:
    """Cut the line every few seconds; how many connections each cut hit."""
    ended, cuts = threading.Event(), list[int]()

    def cut() -> None:
        while not ended.wait(CUT_EVERY_S):
            cuts.append(exchange.post("/sim/drop")["dropped"])

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield cuts
    finally:
        ended.set()
        thread.join()


def test_a_faulty_line_gives_all_trades_and_binances_candles(archive, settings, redis_client, database, tmp_path):
    path, trades = archive
    folder = tmp_path / "sim"
    folder.mkdir()
    played = {"sim_play": path, "sim_speed": "max", "feed_kind": "aggTrade", "symbols": "BTCUSDT", "pairs": ""}
    with running_exchange(folder, **played) as exchange:
        exchange.post("/sim/faults", FAULTS)
        timeframes = ("1s", "1m", *LENGTHS_MS)
        own = feed_settings(
            settings, exchange, symbols=("BTCUSDT",), feed_kind="aggTrade", history="0", timeframes=timeframes, stale_after_s=2.0
        )
        with a_pipeline(own, redis_client, database, *ALL) as pipeline:
            register_source(database, "BTCUSDT", "binance.aggTrade")
            pipeline.send([first_trade(path)], "binance.aggTrade")  # an earlier run has it: the feed knows where to begin
            with producing(own) as producer:
                began_s = time.monotonic()
                with cutting(exchange) as cuts:
                    pipeline.wait(lambda: exchange.get("/sim/state")["symbols"]["BTCUSDT"]["ended"], 600, "end of the play")
                pipeline.wait(lambda: pipeline.scalar(COUNT) == trades, 300, f"{trades} trades")
                print(f"{trades} trades in {time.monotonic() - began_s:.1f} s, {sum(map(bool, cuts))} cuts")
                pipeline.wait(lambda: fact(redis_client, "malformed") > 10, 60, "word of the faults")
                assert producer.stop() == 0
            pipeline.settle(180, closed=lambda: pipeline.scalar("SELECT count(*) FROM gaps WHERE state <> 'closed'") == 0)
            candles = {timeframe: len(binance_candles(timeframe)) for timeframe in LENGTHS_MS}
            pipeline.wait(lambda: {t: len(pipeline.rows(CANDLES, t)) for t in candles} == candles, 60, f"candles: {candles}")
            assert pipeline.scalar(COUNT) == trades
            assert pipeline.differences() == []
            for timeframe in LENGTHS_MS:
                expected = binance_candles(timeframe)
                ours: dict[int, list[Decimal]] = {at: row for at, *row in pipeline.rows(CANDLES, timeframe)}
                assert {at: row[:4] for at, row in ours.items()} == {at: row[:4] for at, row in expected.items()}
                assert all(abs(ours[at][4] - row[4]) <= Decimal("1e-6") for at, row in expected.items())
