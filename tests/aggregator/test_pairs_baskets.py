"""Baskets: least squares on several legs equals the exact solution, Johansen's vector is statsmodels'."""

from fractions import Fraction
from operator import mul

import numpy as np
import pytest

from aggregator.pairmath import basket_batch, batch
from common.pairmethod import PairMethod
from tests.aggregator.walks import starts, walk


def basket(seed, count, legs):
    """y follows the other legs, which walk."""
    rng = np.random.default_rng(seed)
    xs = 100 + rng.normal(0, 0.4, (count, legs - 1)).cumsum(axis=0)
    y = xs @ rng.uniform(0.5, 2, legs - 1) + 20 + rng.normal(0, 0.3, count)
    return np.round(np.column_stack((y, xs)), 2)


def exact_ratios(values):
    """Normal equations of centred legs, in fractions."""
    rows = [[Fraction(float(v)) for v in row] for row in values]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    y, *xs = [[v - mean for v in column] for column, mean in zip(zip(*rows, strict=True), means, strict=True)]
    a = [[sum(map(mul, one, two)) for two in (*xs, y)] for one in xs]
    for at, line in enumerate(a):
        a[at] = line = [v / line[at] for v in line]
        for other in range(len(a)):
            if other != at:
                a[other] = [v - a[other][at] * w for v, w in zip(a[other], line, strict=True)]
    ratios = [line[-1] for line in a]
    return ratios, means[0] - sum(r * m for r, m in zip(ratios, means[1:], strict=True))


@pytest.mark.parametrize(("legs", "window"), [(2, 10), (3, 12), (5, 20)])
def test_least_squares_equals_the_exact_solution(legs, window):
    values = basket(legs, 60, legs)
    values[30, 0] = 1e9
    found = basket_batch(values, window)
    assert np.isnan(found.ratios[: window - 1]).all()
    for t in range(window - 1, 60):
        ratios, intercept = exact_ratios(values[t - window + 1 : t + 1])
        scale = np.ptp(values[t - window + 1 : t + 1, 0])
        np.testing.assert_allclose(found.ratios[t], [float(r) for r in ratios], rtol=1e-9, atol=1e-12 * scale)
        assert found.intercept[t] == pytest.approx(float(intercept), rel=1e-9, abs=1e-11 * scale)
        now = [Fraction(float(v)) for v in values[t]]
        spread = now[0] - intercept - sum(r * v for r, v in zip(ratios, now[1:], strict=True))
        assert found.spread[t] == pytest.approx(float(spread), rel=1e-9, abs=1e-12 * scale)


def test_a_basket_of_two_is_a_pair():
    y, x = walk(3, 120)
    pair = batch(PairMethod(), 20, y, x, starts(120), np.zeros(0), 120)[0]
    found = basket_batch(np.column_stack((y, x)), 20)
    np.testing.assert_allclose(found.ratios[:, 0], pair.hedge_ratio, rtol=1e-10)
    np.testing.assert_allclose(found.intercept, pair.intercept, rtol=1e-10)
    for name in ("spread", "rolling_mean", "rolling_std", "z_score"):
        np.testing.assert_allclose(getattr(found, name), getattr(pair, name), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("legs", [2, 3, 4])
def test_johansens_vector_is_that_of_statsmodels(legs):
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    values = basket(10 + legs, 140, legs)
    found = basket_batch(values, 100, "johansen")
    assert np.isnan(found.ratios[:99]).all()
    for t in range(99, 140, 4):
        vector = coint_johansen(values[t - 99 : t + 1], 0, 1).evec[:, 0]
        np.testing.assert_allclose(found.ratios[t], -vector[1:] / vector[0], rtol=1e-7)
    spread = values[:, 0] - found.intercept - (found.ratios * values[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(found.spread, spread, atol=1e-9)


def test_the_johansen_spread_has_its_own_mean_taken_out():
    values = basket(5, 100, 3)
    found = basket_batch(values, 100, "johansen")
    residuals = values[:, 0] - found.intercept[-1] - values[:, 1:] @ found.ratios[-1]
    assert abs(residuals.mean()) < 1e-10


@pytest.mark.parametrize("kind", ["ols", "johansen"])
def test_flat_and_equal_legs_have_no_ratios(kind):
    values = basket(6, 60, 3)
    flat, equal = values.copy(), values.copy()
    flat[:, 2] = 7.0
    equal[:, 2] = 2 * equal[:, 1] + 1
    for legs in (flat, equal):
        found = basket_batch(legs, 30, kind)
        assert np.isnan(found.ratios).all() and np.isnan(found.z_score).all() and np.isnan(found.spread).all()


@pytest.mark.parametrize("kind", ["ols", "johansen"])
def test_later_prices_never_change_an_earlier_row_of_a_basket(kind):
    values = basket(7, 80, 3)
    before = basket_batch(values, 25, kind)
    values[60:] *= 1.3
    after = basket_batch(values, 25, kind)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[:60], other[:60])


def test_a_window_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="window must be at least 12 for a johansen basket of 3 legs, was 11"):
        basket_batch(basket(1, 30, 3), 11, "johansen")
