"""Each type of alert fires, clears and arms again: a scripted feed through the real pipeline, against the stored rows."""

import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from psycopg2.extras import Json

from common.codec import encode_rows
from common.trades import Trade
from tests.pipeline import Pipeline, a_pipeline

pytestmark = pytest.mark.process
SECOND = 1_000_000
SECONDS = 180
#: Seconds without a trade of A, and those at whose end ids of B are missing.
SILENT = (*range(60, 75), *range(120, 140))
SKIPS = (40, 100)
CONDITIONS = {
    "zscore_high": {"threshold": 1.2}, "zscore_low": {"threshold": 1.2}, "zscore_abs": {"threshold": 1.4, "clear": 0.7},
    "spread_above": {"threshold": 1.0}, "spread_below": {"threshold": -1.0}, "correlation_break": {"threshold": 0.0},
    "cointegration_lost": {"threshold": 0.3}, "volume_spike": {"threshold": 2.5, "window": 5}, "price_movement": {"threshold": 2},
    "price_above": {"threshold": 101}, "price_below": {"threshold": 99},
}  # fmt: skip
STORED = {
    "pair": "SELECT timestamp, {} FROM spread_analytics WHERE method = 'ols' AND window_bars = 30 ORDER BY 1",
    "test": "SELECT timestamp, pvalue FROM pair_tests WHERE timeframe = '1s' ORDER BY 1",
    "bar": "SELECT timestamp, close::float, volume::float FROM processed_bars WHERE symbol = 'A' AND timeframe = '1s' ORDER BY 1",
}
HOLDS: dict[str, Callable[[float], bool]] = {
    "zscore_high": lambda v: v > 1.2, "zscore_low": lambda v: v < -1.2,
    "spread_above": lambda v: v > 1, "spread_below": lambda v: v < -1,
    "correlation_break": lambda v: v < 0, "price_above": lambda v: v > 101, "price_below": lambda v: v < 99,
}  # fmt: skip


def script(start_us: int) -> Iterator[tuple[int, list[Trade]]]:
    """Milliseconds of an entry, and its trades: one of each symbol a second. A is in turn noise about 100 and a walk."""
    rng = random.Random(6)
    ids, level = {"A": 100, "B": 500}, 100.0
    for second in range(SECONDS):
        at_us = start_us + second * SECOND
        walks = second // 30 % 2
        level = level + rng.gauss(0, 1) if walks else 100.0
        prices = {"A": level + rng.gauss(0, 0.3 if walks else 1.5), "B": 50 + rng.gauss(0, 1)}
        size = 9 if rng.random() < 0.1 else 1
        trades = []
        for symbol in ("A", "B"):
            ids[symbol] += 5 if symbol == "B" and second in SKIPS else 1
            if symbol == "B" or second not in SILENT:
                trades.append(Trade(symbol, ids[symbol], at_us + 100_000, f"{prices[symbol]:.2f}", str(size), "b"))
            else:
                ids[symbol] -= 1
        yield at_us // 1000 + 150, trades


@pytest.fixture
def pipeline(settings, redis_client, database):
    update = {"symbols": ("A", "B"), "pairs": ("A_B",), "window": 30, "coint_every_bars": 4, "stale_leg_s": 5}
    update |= {"timeframes": ("1s",)}
    with a_pipeline(settings.model_copy(update=update), redis_client, database) as running:
        yield running


def make(pipeline: Pipeline, kind: str, subject: str, condition: dict) -> int:
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES (%s, %s, %s, '1s') RETURNING id",
            (kind, subject, Json(condition)),
        )
        return cursor.fetchone()[0]


def crossings(rows: list[tuple], holds: Callable[[float], bool], over: Callable[[float], bool] | None = None) -> list[tuple]:
    """(moment, transition) of a value that is stored row by row; NULL says nothing."""
    found, firing = [], False
    for moment, value in rows:
        if value is not None and (over or (lambda v: not holds(v)))(value) if firing else value is not None and holds(value):
            firing = not firing
            found.append((moment, "triggered" if firing else "cleared"))
    return found


def expected(pipeline: Pipeline, kind: str) -> list[tuple]:
    if kind == "cointegration_lost":
        tests = [row for row in pipeline.rows(STORED["test"]) if row[1] is not None]
        first_ok = next(at for at, (_, pvalue) in enumerate(tests) if pvalue <= 0.3)
        return crossings(tests[first_ok:], lambda p: p > 0.3)
    if kind in ("volume_spike", "price_movement"):
        bars = pipeline.rows(STORED["bar"])
        if kind == "price_movement":
            moves = [(now[0], abs(now[1] / before[1] - 1) * 100) for before, now in pairwise(bars)]
            return crossings(moves, lambda move: move > 2)
        volumes = [volume for *_, volume in bars]
        ratios = [(bars[at][0], volumes[at] / (sum(volumes[at - 5 : at]) / 5)) for at in range(5, len(bars))]
        return crossings(ratios, lambda ratio: ratio > 2.5)
    if kind in ("price_above", "price_below"):
        return crossings([row[:2] for row in pipeline.rows(STORED["bar"])], HOLDS[kind])
    column = {"correlation_break": "correlation", "spread_above": "spread", "spread_below": "spread"}.get(kind, "z_score")
    rows = pipeline.rows(STORED["pair"].format(column))
    if kind == "zscore_abs":
        return crossings(rows, lambda z: abs(z) > 1.4, lambda z: abs(z) <= 0.7)
    return crossings(rows, HOLDS[kind])


def feed(pipeline: Pipeline, entries: list[tuple[int, list[Trade]]]) -> None:
    """Entries at the moments of the script: the stream's clock is theirs."""
    for at_ms, trades in entries:
        fields = {"v": 1, "n": len(trades), "src": "binance.trade", "rows": encode_rows(trades)}
        pipeline.client.xadd("trades", fields, id=f"{at_ms}-0")


def live_rows_of(pipeline: Pipeline, entries: list[tuple[int, list[Trade]]]) -> None:
    """The pair's first rows, by an aggregator that is killed then and whose checkpoint is lost."""
    feed(pipeline, entries)
    pipeline.start("aggregator_0")
    pipeline.wait(lambda: pipeline.scalar("SELECT max(position_ms) > 0 FROM checkpoints"), 60, "first checkpoint")
    pipeline.start("writer_0", "tasks")
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) > 30 FROM spread_analytics"), 60, "first rows of the pair")
    pipeline.kill("aggregator_0")
    with pipeline.database, pipeline.database.cursor() as cursor:
        cursor.execute("DELETE FROM checkpoints")


@pytest.mark.parametrize("rebuilt", [False, True], ids=["closed from memory", "closed by rebuilds"])
def test_each_type_fires_clears_and_arms_again(pipeline, redis_client, rebuilt):
    """Without its checkpoint an aggregator proves nothing: the bars are made by rebuilds, and the events are the same.

    All is there before it reads: where an entry is waited for, the clock of now makes a silence of the script's.
    """
    about = {kind: "A" if kind.startswith(("volume", "price")) else "A_B" for kind in CONDITIONS}
    ids = {kind: make(pipeline, kind, about[kind], condition) for kind, condition in CONDITIONS.items()}
    gap = make(pipeline, "gap", "B", {})
    start_us = (time.time_ns() // 1000 // SECOND - SECONDS - 60) * SECOND
    entries = list(script(start_us))
    if rebuilt:
        live_rows_of(pipeline, entries[:35])
        feed(pipeline, entries[35:])
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) > 300 FROM raw_ticks"), 60, "all ticks stored")
    else:
        feed(pipeline, entries)
    stale = make(pipeline, "feed_stale", "A", {"threshold": 10})
    pipeline.start("aggregator_0")
    pipeline.wait(lambda: pipeline.scalar("SELECT max(position_ms) > 0 FROM checkpoints"), 60, "first checkpoint")
    if not rebuilt:
        pipeline.start("writer_0", "tasks")
    pipeline.settle()
    tests = "SELECT (SELECT count(*) FROM pair_tests WHERE tested_at IS NULL) + (SELECT count(*) FROM alert_inbox)"
    pipeline.wait(lambda: pipeline.scalar(tests) == 0, 60, "all tests done and looked at")

    def events(alert_id: int) -> list[tuple]:
        query = "SELECT bar_timestamp, transition FROM alert_events WHERE alert_id = %s ORDER BY id"
        return pipeline.rows(query, alert_id)

    pipeline.wait(lambda: len(events(stale)) == 5, 60, "third silence")
    for kind, alert_id in ids.items():
        assert events(alert_id) == expected(pipeline, kind), kind
        names = [name for _, name in events(alert_id)]
        assert names[:3] == ["triggered", "cleared", "triggered"], kind
    seconds = [(round(at.timestamp() - start_us / SECOND, 3), name) for at, name in events(stale)]
    assert seconds == [
        (69.15, "triggered"), (75.15, "cleared"), (129.15, "triggered"), (140.15, "cleared"), (SECONDS - 1 + 10.15, "triggered"),
    ]  # fmt: skip
    seconds = [(round(at.timestamp() - start_us / SECOND), name) for at, name in events(gap)]
    fired = [second for second, name in seconds if name == "triggered"]
    assert all(skip - second in (0, 1) for skip, second in zip(SKIPS, fired, strict=True)), "a bar at either side of the hole"
    assert [name for _, name in seconds] == ["triggered", "cleared"] * 2
    told = [fields for _, fields in redis_client.xrange("live") if fields[b"event"] == b"alert"]
    assert len({fields[b"data"] for fields in told}) == pipeline.scalar("SELECT count(*) FROM alert_events")
