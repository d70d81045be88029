"""Law 5: every row of `batch` and of `Rolling` equals the exact result."""

import numpy as np
import pytest

from aggregator.pairmath import NAMES, Rolling, batch
from common.pairmethod import PairMethod
from tests.aggregator.pairs_reference import assert_rows_equal, exact
from tests.aggregator.walks import common_candles, small_moves, starts, walk

NOTHING = np.zeros(0)
METHODS = ("ols", "tls", "kalman", "huber", "ols+log", "tls+log+prior", "kalman+log", "huber+log", "ols+prior")
QUICK = ("ols", "tls", "kalman", "ols+log")


def all_at_once(method, window, y, x, starts_us):
    return batch(method, window, y, x, starts_us, NOTHING, len(y))[0].rows()


def one_by_one(method, window, y, x, starts_us):
    """In one of three slots; another lives through the same prices with the legs exchanged."""
    rolling = Rolling(method, window, 3)
    for slot in (0, 2):
        rolling.load(slot, NOTHING, NOTHING, NOTHING, np.zeros(0, dtype=np.int64))
    rows = []
    for t in range(len(y)):
        found, _ = rolling.step(np.array([2, 0]), np.array([y[t], x[t]]), np.array([x[t], y[t]]), np.full(2, starts_us[t]))
        rows.append(found.rows()[0])
    return rows


def assert_exact(text, window, y, x, starts_us=None, ways=(all_at_once, one_by_one)):
    method, starts_us = PairMethod.parse(text), starts(len(y)) if starts_us is None else starts_us
    expected = exact(method, window, y, x, starts_us.tolist())
    for way in ways:
        assert_rows_equal(way(method, window, y, x, starts_us), expected, y, x, window, method)
    return expected


@pytest.mark.parametrize("text", METHODS)
@pytest.mark.parametrize(("window", "count"), [(3, 40), (4, 40), (11, 50)])
def test_every_row_equals_the_exact_result(text, window, count):
    assert_exact(text, window, *walk(window, count))


@pytest.mark.parametrize("text", QUICK)
@pytest.mark.parametrize(("window", "count"), [(60, 250), (300, 640)])
def test_every_row_of_wide_windows_equals_the_exact_result(text, window, count):
    assert_exact(text, window, *walk(window, count))


@pytest.mark.parametrize("text", METHODS)
def test_a_bad_print_leaves_no_trace(text):
    window = 12
    y, x = walk(7, 5 * window + 20, bad_at=50)
    expected = assert_exact(text, window, y, x)
    if not text.startswith("kalman"):  # a filter forgets slowly; and starts again the next day
        clean = exact(PairMethod.parse(text), window, *walk(7, len(y)), starts(len(y)).tolist())
        after = 50 + 2 * window - (0 if "prior" in text else 1)
        assert expected[after:] == clean[after:] and expected[after - 1] != clean[after - 1]


@pytest.mark.parametrize("text", QUICK)
@pytest.mark.parametrize("bad_at", [17, 18, 19, 27, 28])
def test_a_bad_print_at_any_row_of_a_turn(text, bad_at):
    """Differences are taken from the row of the last turn: it may be the bad one."""
    assert_exact(text, 10, *walk(bad_at, 60, bad_at=bad_at), ways=(one_by_one,))


@pytest.mark.parametrize("text", METHODS)
def test_cents_on_a_hundred_thousand(text):
    assert_exact(text, 9, *small_moves(3, 60))


@pytest.mark.parametrize("text", METHODS)
def test_a_leg_that_stood_still_is_exact_again_once_it_moves(text):
    y, x = walk(2, 70)
    x[20:40] = x[20]
    expected = assert_exact(text, 8, y, x)
    assert expected[30]["hedge_ratio"] is None and expected[50]["hedge_ratio"] is not None


@pytest.mark.parametrize("text", ["kalman", "kalman+log"])
def test_the_filter_starts_again_each_day(text):
    y, x = walk(5, 90)
    times = np.arange(90) * 3_600_000_000
    states = batch(PairMethod.parse(text), 10, y, x, times, NOTHING, 90)[1]
    started_on = [y[t] if t == 9 or t in (24, 48, 72) else None for t in range(9, 90)]
    assert [state[6] if t == 0 or state[6] != states[8 + t][6] else None for t, state in enumerate(states[9:])] == started_on
    assert_exact(text, 10, y, x, times)


@pytest.mark.parametrize("text", METHODS)
def test_where_nothing_moves_there_is_no_statistic(text):
    moving, flat = walk(1, 40)[0], np.full(40, 0.1)
    method = PairMethod.parse(text)
    for way in (all_at_once, one_by_one):
        assert set(way(method, 10, moving, flat, starts(40))) == {(None,) * len(NAMES)}
        assert set(way(method, 10, flat, flat, starts(40))) == {(None,) * len(NAMES)}
        for row in way(method, 10, flat, moving, starts(40))[9:]:
            named = dict(zip(NAMES, row, strict=True))
            assert (named["hedge_ratio"], named["spread"]) == (0.0, 0.0)
            assert {named[name] for name in NAMES if name not in ("hedge_ratio", "intercept", "spread", "rolling_mean")} == {None}


@pytest.mark.parametrize("text", [text for text in METHODS if "log" not in text])
def test_a_perfect_line_has_no_score(text):
    x = walk(1, 40)[1]
    for way in (all_at_once, one_by_one):
        for row in way(PairMethod.parse(text), 10, 2 * x + 1, x, starts(40))[9:]:
            named = dict(zip(NAMES, row, strict=True))
            assert named["hedge_ratio"] == pytest.approx(2, rel=1e-12)
            assert {named[name] for name in ("rolling_std", "z_score", "half_life", "innovation_z")} == {None}


def test_alike_returns_have_no_correlation():
    y, x = 100 * 1.001 ** np.arange(30), walk(1, 30)[1]
    for way in (all_at_once, one_by_one):
        rows = way(PairMethod(), 10, y, x, starts(30))
        assert {row[NAMES.index("return_correlation")] for row in rows} == {None}


BTC, ETH = (f"binance_spot_{coin}USDT_5m_2024-01-01_00-12h.csv" for coin in ("BTC", "ETH"))


@pytest.mark.parametrize("text", METHODS)
def test_real_candles(text):
    y, x, times = common_candles(BTC, ETH)
    assert len(y) == 144
    assert_exact(text, 20, y, x, times)


@pytest.mark.parametrize("text", QUICK)
def test_real_minutes_of_which_some_are_missing(text):
    y, x, times = common_candles("lean_coinbase_BTCUSD_minute_20180404.csv", "lean_coinbase_ETHUSD_minute_20180404.csv")
    kept = [row for row in range(700, len(y)) if row % 11]
    y, x, times = (series[kept] for series in (y, x, times))
    assert max(np.diff(times)) > min(np.diff(times))
    assert_exact(text, 30, y, x, times)


@pytest.mark.parametrize("text", ["ols", "kalman", "tls+log"])
def test_real_candles_over_days(text):
    names = (f"binance_spot_{coin}USDT_15m_2024-01-02_2024-04-30.csv.zst" for coin in ("BTC", "ETH"))
    y, x, times = (series[300:700] for series in common_candles(*names))
    assert_exact(text, 60, y, x, times)
