"""Scans: what they say of a pair is what the pair's live row says; they go on where they stopped."""

import random
import time

import numpy as np
import pytest
from statsmodels.tsa.stattools import coint

from aggregator.compute import Computer
from aggregator.scan import queue_due_scans, scan_pair
from common.closes import Line
from common.tasks import Task, claim_task, create_task
from common.trades import Trade
from tests.aggregator.house import SECOND, START_US, House

WINDOW = 30


@pytest.fixture
def house(settings, redis_client, database):
    """Four symbols; B and A move together, C and D do not."""
    update = {
        "symbols": ("A", "B", "C", "D"), "pairs": ("A_B", "B_A", "C_D", "D_C"), "window": WINDOW, "stale_leg_s": 20,
        "timeframes": ("1s",),
    }  # fmt: skip
    made = House(settings.model_copy(update=update), redis_client, database)
    yield made
    made.close()


def market(seconds: int, symbols: str = "ABCD") -> list[Trade]:
    rng, trades = random.Random(5), []
    levels = {"A": 40_000.0, "B": 2_000.0, "C": 10.0, "D": 700.0}
    for second in range(seconds):
        levels["B"] += rng.gauss(0, 2)
        levels["A"] = 500 + 19.5 * levels["B"] + rng.gauss(0, 3)
        levels["C"] += rng.gauss(0, 0.01)
        levels["D"] += rng.gauss(0, 0.5)
        for symbol in symbols:
            if rng.random() > 0.15:
                stamp = START_US + second * SECOND + 1000
                trades.append(Trade(symbol, 1 + second, stamp, f"{levels[symbol]:.3f}", "1", "b"))
    return trades


def feed(house: House, trades: list[Trade]) -> None:
    for at in range(0, len(trades), 40):
        house.take(trades[at : at + 40])
    house.quiet(3)


def run(house: House, pause=lambda: None, **params) -> tuple[str, dict]:
    asked = {"timeframe": "1s", "window": WINDOW, "symbols": list("ABCD"), **params}
    create_task(house.database, "scan", asked)
    task = claim_task(house.database, ["scan"])
    assert task
    return task.task_id, Computer(house.settings, house.client, house.database, pause).run(task)


def test_a_scan_says_of_each_pair_what_its_live_row_says(house):
    feed(house, market(120))
    scan_id, counts = run(house)
    assert counts == {"pairs": 6}
    found = {row[0]: row[1:] for row in house.rows(
        "SELECT symbol_pair, hedge_ratio, spread, z_score, half_life, correlation, return_correlation FROM pair_scans"
    )}  # fmt: skip
    assert len(found) == 6
    computed_on = house.rows("SELECT computed_on FROM scan_runs WHERE scan_id = %s AND finished_at IS NOT NULL", scan_id)[0][0]
    compared = 0
    for pair, values in found.items():
        live = house.rows(
            "SELECT hedge_ratio, spread, z_score, half_life, correlation, return_correlation FROM spread_analytics"
            " WHERE symbol_pair = %s AND timestamp <= %s ORDER BY timestamp DESC LIMIT 1", pair, computed_on,
        )  # fmt: skip
        for ours, theirs in zip(values, live[0] if live else (), strict=bool(live)):
            assert ours == (None if theirs is None else pytest.approx(theirs, rel=1e-9, abs=1e-12)), pair
            compared += 1
    assert compared == 12, "A with B and C with D, whichever leg is explained"


def test_the_better_way_is_taken_and_the_test_answers_what_statsmodels_does(house):
    rng = np.random.default_rng(2)
    x = np.cumsum(rng.normal(size=59)) + 200
    y = 3 * x + rng.normal(size=59)
    stamps = np.arange(59, dtype=np.int64) * SECOND
    found = scan_pair(("X", Line(stamps, x)), ("Y", Line(stamps, y)), 30, 20 * SECOND)
    both = {"X_Y": coint(x[-30:], y[-30:])[:2], "Y_X": coint(y[-30:], x[-30:])[:2]}
    best = min(both, key=lambda name: both[name][0])
    other = next(name for name in both if name != best)
    assert f"{found.symbol1}_{found.symbol2}" == best
    expected = pytest.approx((*both[best], both[other][1]), rel=1e-8)
    assert (found.coint_statistic, found.coint_pvalue, found.other_way_pvalue) == expected
    again = scan_pair(("Y", Line(stamps, y)), ("X", Line(stamps, x)), 30, 20 * SECOND)
    assert again == found, "the order in which the symbols are named says nothing"


def test_what_is_flat_or_short_has_nulls_and_no_rank():
    stamps = np.arange(59, dtype=np.int64) * SECOND
    moving = Line(stamps, np.linspace(1, 2, 59) + np.sin(np.arange(59)))
    flat = scan_pair(("A", moving), ("B", Line(stamps, np.full(59, 5.0))), 30, SECOND)
    assert (flat.coint_pvalue, flat.z_score, flat.correlation, flat.rows) == (None, None, None, 30)
    short = scan_pair(("A", moving), ("B", Line(stamps[:9], np.arange(9.0) + 1)), 30, SECOND)
    assert short[2:] == (10, 1, *[None] * 10)


def test_a_scan_that_dies_goes_on_on_the_same_bars(house, monkeypatch):
    feed(house, market(120))
    monkeypatch.setattr("aggregator.scan.STORE_EVERY_S", 0.0)
    scan_id, counts = run(house)
    whole = house.rows("SELECT * FROM pair_scans WHERE scan_id = %s ORDER BY symbol_pair", scan_id)
    house.rows("UPDATE scan_runs SET finished_at = NULL")
    house.rows("DELETE FROM pair_scans WHERE symbol_pair IN (SELECT symbol_pair FROM pair_scans LIMIT 4)")
    feed(house, [trade._replace(trade_id=trade.trade_id + 500, event_us=trade.event_us + 120 * SECOND) for trade in market(20)])
    params = {"timeframe": "1s", "window": WINDOW, "symbols": list("ABCD")}
    pauses = []
    computer = Computer(house.settings, house.client, house.database, lambda: pauses.append(1))
    assert computer.run(Task(scan_id, "scan", params, 2, {})) == counts
    assert house.rows("SELECT * FROM pair_scans WHERE scan_id = %s ORDER BY symbol_pair", scan_id) == whole
    assert len(pauses) == 4, "two of six were there"


def test_only_the_newest_scan_of_its_kind_is_kept(house):
    feed(house, market(80))
    first, _ = run(house)
    other, _ = run(house, window=20)
    second, _ = run(house)
    kept = {str(row[0]) for row in house.rows("SELECT scan_id FROM scan_runs")}
    assert kept == {other, second} and first not in kept
    assert len(house.rows("SELECT 1 FROM pair_scans")) == 12


def test_symbols_without_bars_are_left_out(house):
    feed(house, market(80))
    _, counts = run(house, symbols=["A", "B", "NONE"])
    assert counts == {"pairs": 1}
    house.rows("DELETE FROM checkpoints")
    assert run(house, symbols=["X", "Y"])[1] == {"pairs": 0}
    assert house.rows("SELECT computed_on FROM scan_runs WHERE 'X' = ANY(symbols)") == [(None,)]


def test_scans_come_due_once_a_period_whoever_asks(house):
    settings = house.settings.model_copy(update={"scan_every_s": 60, "timeframes": ("1s", "1m")})
    queue_due_scans(house.settings, house.database, time.time())
    assert claim_task(house.database, ["scan"]) is None
    for now_s in (6000, 6000.2, 6059.9):
        queue_due_scans(settings, house.database, now_s)
        house.rows("UPDATE tasks SET state = 'done'")
    assert len(house.rows("SELECT 1 FROM tasks WHERE kind = 'scan'")) == 2
    queue_due_scans(settings, house.database, 6060)
    queue_due_scans(settings, house.database, 6120)
    assert len(house.rows("SELECT 1 FROM tasks WHERE kind = 'scan'")) == 4, "those of the period before still wait"
