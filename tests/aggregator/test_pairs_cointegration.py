"""The tests of a window answer what statsmodels' do, and the published figures; and what they say of processes that are known."""

import json
import math
import subprocess
import sys
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from aggregator.pairmath import pair_tests
from aggregator.pairmath.cointegration import augmented_dickey_fuller, engle_granger, hurst, variance_ratio
from ops.house import ROOT
from tests.aggregator.walks import shared_path, walk

PUBLISHED = "pairs_ref/binance_spot_1h_close_2024-01-01_2024-03-01.csv"


def random_walk(seed, count):
    return np.random.default_rng(seed).normal(size=count).cumsum()


def reverting(seed, count, keep=0.8):
    steps, spread = np.random.default_rng(seed).normal(size=count), np.zeros(count)
    for t in range(1, count):
        spread[t] = keep * spread[t - 1] + steps[t]
    return spread


@pytest.mark.parametrize("count", [25, 30, 60, 300, 1_000])
def test_they_are_coint_and_adfuller(count):
    from statsmodels.tsa.stattools import adfuller, coint

    y, x = walk(9, count)
    spreads = y - 18 * x
    found = pair_tests(y, x, spreads)
    assert (found.coint_statistic, found.coint_pvalue) == pytest.approx(coint(y, x)[:2], rel=3e-8)  # their error: see below
    adf = adfuller(spreads, result_object=False)[:2]
    assert (found.spread_adf_statistic, found.spread_adf_pvalue) == pytest.approx(adf, rel=3e-8)
    assert found.is_cointegrated is bool(found.coint_pvalue < 0.05)
    assert (found.hurst, found.variance_ratio) == (hurst(spreads), variance_ratio(spreads))


@pytest.mark.parametrize("count", [21, 60, 200])
@pytest.mark.parametrize("test", ["coint", "adfuller"])
def test_they_are_theirs_on_many_walks_and_lags(test, count):
    from statsmodels.tsa.stattools import adfuller, coint

    for seed in range(60):
        y, x = 100 + random_walk(seed, count), 50 + reverting(1_000 + seed, count, keep=0.9)
        ours, theirs = (engle_granger(y, x), coint(y, x)) if test == "coint" else (
            augmented_dickey_fuller(x), adfuller(x, result_object=False))  # fmt: skip
        assert ours == pytest.approx(tuple(theirs[:2]), rel=1e-8), seed


def exact_t(y: list[Fraction], x: list[Fraction], lags: int) -> float:
    """t of the lagged level in the regression of the residuals of y on x and a constant, without rounding up to its root."""
    n, mean_y, mean_x = len(y), sum(y) / len(y), sum(x) / len(x)
    slope = sum((a - mean_y) * (b - mean_x) for a, b in zip(y, x, strict=True)) / sum((b - mean_x) ** 2 for b in x)
    left = [(a - mean_y) - slope * (b - mean_x) for a, b in zip(y, x, strict=True)]
    steps = [after - before for before, after in pairwise(left)]
    rows = [[left[t], *(steps[t - lag] for lag in range(1, lags + 1)), steps[t]] for t in range(lags, n - 1)]
    width = lags + 1
    normal = [[sum(row[i] * row[j] for row in rows) for j in [*range(width), width]] for i in range(width)]
    unit = [[Fraction(int(i == j)) for j in range(width)] for i in range(width)]
    table = [normal[i] + unit[i] for i in range(width)]
    for i in range(width):
        table[i] = [value / table[i][i] for value in table[i]]
        for other in range(width):
            if other != i:
                table[other] = [a - table[other][i] * b for a, b in zip(table[other], table[i], strict=True)]
    beta = [table[i][width] for i in range(width)]
    squares = sum((row[-1] - sum(b * value for b, value in zip(beta, row[:-1], strict=True))) ** 2 for row in rows)
    variance = squares / (len(rows) - width) * table[0][width + 1]
    return float(beta[0]) / math.sqrt(variance)


@pytest.mark.parametrize("seed", range(5))
def test_the_statistic_is_exact_where_statsmodels_is_a_few_digits_off(seed):
    y, x = (100 + np.round(random_walk(each, 40), 2) for each in (seed, 50 + seed))
    found = engle_granger(y, x).statistic
    exact = [exact_t(*([Fraction(value) for value in leg.tolist()] for leg in (y, x)), lags) for lags in range(11)]
    assert min(abs(found / each - 1) for each in exact) < 1e-10


def test_where_the_longest_lag_would_fit_perfectly_it_is_one_shorter():
    """Twenty prices: ten columns for ten rows. statsmodels' answer is the same for all legs, and says nothing."""
    from statsmodels.tsa.stattools import coint

    legs = [(100 + random_walk(seed, 20), 50 + random_walk(99 - seed, 20)) for seed in range(9)]
    assert {round(coint(*each)[1], 6) for each in legs} == {0.985900}
    assert len({engle_granger(*each).pvalue for each in legs}) == 9


def test_columns_that_say_the_same_are_left_to_statsmodels():
    from statsmodels.tsa.stattools import adfuller

    saw = np.tile([0.0, 1.0, 2.0, 1.0], 20) + np.r_[np.zeros(79), 1e-9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = adfuller(saw, result_object=False)[:2]
    assert augmented_dickey_fuller(saw) == pytest.approx(theirs, rel=1e-12)


def test_it_does_without_the_import_of_statsmodels():
    code = (
        "import sys, numpy as np; from aggregator.pairmath import pair_tests\n"
        "y, x = np.random.default_rng(1).normal(size=(2, 100)).cumsum(axis=1)\n"
        "assert pair_tests(y, x, y - x).coint_pvalue is not None and 'statsmodels' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


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
