"""The tests of a window are statsmodels' own, with the published figures; and what they say of processes that are known."""

import json

import numpy as np
import pytest

from aggregator.pairmath import pair_tests
from aggregator.pairmath.cointegration import augmented_dickey_fuller, engle_granger, hurst, variance_ratio
from tests.aggregator.walks import shared_path, walk

PUBLISHED = "pairs_ref/binance_spot_1h_close_2024-01-01_2024-03-01.csv"


def random_walk(seed, count):
    return np.random.default_rng(seed).normal(size=count).cumsum()


def reverting(seed, count, keep=0.8):
    steps, spread = np.random.default_rng(seed).normal(size=count), np.zeros(count)
    for t in range(1, count):
        spread[t] = keep * spread[t - 1] + steps[t]
    return spread


@pytest.mark.parametrize("count", [30, 60, 300])
def test_they_are_coint_and_adfuller(count):
    from statsmodels.tsa.stattools import adfuller, coint

    y, x = walk(9, count)
    spreads = y - 18 * x
    found = pair_tests(y, x, spreads)
    assert (found.coint_statistic, found.coint_pvalue) == coint(y, x)[:2]
    assert (found.spread_adf_statistic, found.spread_adf_pvalue) == adfuller(spreads, result_object=False)[:2]
    assert found.is_cointegrated is bool(found.coint_pvalue < 0.05)
    assert (found.hurst, found.variance_ratio) == (hurst(spreads), variance_ratio(spreads))


def test_the_published_engle_granger_figures():
    table = np.genfromtxt(shared_path(PUBLISHED), delimiter=",", names=True)
    found = pair_tests(table["SOLUSDT"], table["BTCUSDT"], np.zeros(0))
    assert f"{found.coint_statistic:.6f}" == "-3.759751" and f"{found.coint_pvalue:.6f}" == "0.015325"
    assert found.is_cointegrated


def test_stata_agrees_on_its_own_example():
    from statsmodels.tsa.stattools import coint

    y0, y1 = np.genfromtxt(shared_path("pairs_ref/stata_egranger_y0_y1.csv"), delimiter=",", skip_header=1).T
    expected = next(iter(json.loads(shared_path("pairs_ref/stata_expected.json").read_text()).values()))["c"]["t"]
    assert coint(y0, y1, maxlag=4, autolag=None)[0] == pytest.approx(expected, rel=1e-6)


def test_plain_adf_values_would_call_too_many_pairs_cointegrated():
    """Two independent walks, sixty times: about one in twenty may pass, not one in six."""
    ours = plain = 0
    for seed in range(60):
        y, x = 100 + random_walk(seed, 100), 100 + random_walk(1_000 + seed, 100)
        ours += bool(engle_granger(y, x).is_cointegrated)
        slope, intercept = np.polyfit(x, y, 1)
        plain += bool(augmented_dickey_fuller(y - slope * x - intercept).is_cointegrated)
    assert ours <= 8 < plain


@pytest.mark.parametrize("legs", [(np.full(60, 5.0), walk(1, 60)[1]), (walk(1, 60)[0], np.full(60, 5.0))])
def test_a_flat_leg_has_no_cointegration_test(legs):
    found = pair_tests(*legs, np.full(60, 0.1))
    assert found == (None,) * 7


def test_without_enough_there_is_no_answer():
    y, x = walk(1, 60)
    assert pair_tests(y, x, np.r_[np.full(10, np.nan), np.arange(50.0)])[3:] == (None,) * 4
    assert pair_tests(y[:0], x[:0], y[:0]) == (None,) * 7
    assert engle_granger(2 * x + 1, x) == (None, None)


def test_the_hurst_exponent_of_known_processes():
    walks = [hurst(random_walk(seed, 2_000)) for seed in range(20)]
    assert np.mean(walks) == pytest.approx(0.5, abs=0.02)
    assert np.mean([hurst(reverting(seed, 2_000)) for seed in range(20)]) < 0.25
    assert hurst(np.arange(200.0) ** 2) > 0.9
    assert hurst(np.full(100, 3.0)) is None and hurst(np.arange(15.0)) is None and hurst(np.arange(100.0)) is None


def test_the_variance_ratio_of_known_processes():
    walks = [variance_ratio(random_walk(seed, 2_000)) for seed in range(20)]
    assert np.mean(walks) == pytest.approx(1.0, abs=0.05)
    assert np.mean([variance_ratio(reverting(seed, 2_000)) for seed in range(20)]) < 0.85
    assert variance_ratio(np.full(100, 3.0)) is None and variance_ratio(np.arange(16.0)) is None


def test_the_variance_ratio_is_the_formula_of_lo_and_mackinlay():
    p, q = random_walk(3, 60), 4
    n = len(p) - 1
    mean = sum(p[k] - p[k - 1] for k in range(1, n + 1)) / n
    one = sum((p[k] - p[k - 1] - mean) ** 2 for k in range(1, n + 1)) / (n - 1)
    m = q * (n - q + 1) * (1 - q / n)
    many = sum((p[k] - p[k - q] - q * mean) ** 2 for k in range(q, n + 1)) / m
    assert variance_ratio(p) == pytest.approx(many / one, rel=1e-12)


def test_scale_and_shift_change_neither():
    spreads = reverting(1, 300)
    assert hurst(7 * spreads + 3) == pytest.approx(hurst(spreads), rel=1e-9)
    assert variance_ratio(7 * spreads + 3) == pytest.approx(variance_ratio(spreads), rel=1e-9)
