"""Laws of pair statistics, for whatever prices there are: units, exchange of legs, order, bounds, live and recomputed."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aggregator.pairmath import NAMES, Rolling, Statistics, batch, state_rows
from common.pairmethod import ESTIMATORS, PairMethod

NOTHING = np.zeros(0)
NO_STARTS = np.zeros(0, dtype=np.int64)
ONE = np.zeros(1, dtype=np.int64)
HOUR_US = 3_600_000_000
steps = st.integers(-30, 30)
legs = st.lists(st.tuples(steps, steps), min_size=12, max_size=45)
windows = st.integers(3, 9)
estimators = st.sampled_from(ESTIMATORS)
options = st.sampled_from(["", "+log", "+prior", "+log+prior"])
powers = st.integers(-20, 20).map(lambda power: 2.0**power)


def prices(moves: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Cents, never near zero; legs may stand still."""
    y, x = np.array(moves).cumsum(axis=0).T
    return (y + 20_000) / 100.0, (x + 10_000) / 100.0


def lively(moves: list[tuple[int, int]], window: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices of which no window is near a line, or near a point: there the last digits decide."""
    y, x = prices(moves)
    rng = np.random.default_rng(abs(hash(tuple(moves))) % 2**32)
    y, x = y + rng.normal(0, 1, len(y)), x + rng.normal(0, 1, len(x))
    assume(len(y) >= window)
    return y, x


def of(text: str, window: int, y: np.ndarray, x: np.ndarray) -> Statistics:
    return batch(PairMethod.parse(text), window, y, x, np.arange(len(y)) * HOUR_US, NOTHING, len(y))[0]


def assert_close(found: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * scale)


@given(legs, windows, estimators, options)
def test_values_are_finite_or_none_and_within_their_bounds(moves, window, estimator, option):
    y, x = prices(moves)
    for row in of(estimator + option, window, y, x).rows()[window - 1 :]:
        named = dict(zip(NAMES, row, strict=True))
        assert all(value is None or np.isfinite(value) for value in row)
        assert all(named[name] is None or -1 <= named[name] <= 1 for name in ("correlation", "return_correlation"))
        assert all(named[name] is None or named[name] > 0 for name in ("rolling_std", "half_life"))
        assert (named["hedge_ratio"] is None) == (named["intercept"] is None) == (named["spread"] is None)
        assert (named["z_score"] is None) == (named["rolling_std"] is None or named["spread"] is None)
        assert named["innovation_z"] is None or estimator == "kalman"
    first = of(estimator + option, window, y, x).rows()[: window - 1]
    assert set(first) <= {(None,) * len(NAMES)}


@given(legs, windows, estimators, options)
def test_a_leg_that_stands_still_over_the_window_has_no_correlation(moves, window, estimator, option):
    y, x = prices(moves)
    found = of(estimator + option, window, y, x)
    for t in range(window - 1, len(y)):
        part = slice(t - window + 1, t + 1)
        still_y, still_x = np.ptp(y[part]) == 0, np.ptp(x[part]) == 0
        assert np.isnan(found.correlation[t]) == (still_y or still_x)
        assert not (still_x and not np.isnan(found.hedge_ratio[t]))
        if still_y and not still_x and estimator != "kalman":
            assert found.hedge_ratio[t] == 0 and found.spread[t] == 0


@given(legs, windows, estimators, powers)
def test_the_unit_of_y_scales_what_is_in_it(moves, window, estimator, scale):
    assume(estimator != "tls")  # an axis depends on the units by nature
    y, x = prices(moves)
    one, other = of(estimator, window, y, x), of(estimator, window, y * scale, x)
    for name in ("hedge_ratio", "intercept", "spread", "rolling_mean", "rolling_std"):
        np.testing.assert_array_equal(getattr(one, name) * scale, getattr(other, name), err_msg=name)
    for name in ("z_score", "correlation", "return_correlation", "half_life", "innovation_z"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)


@given(legs, windows, estimators, powers)
def test_the_unit_of_both_legs_changes_neither_ratio_nor_score(moves, window, estimator, scale):
    y, x = prices(moves)
    one, other = of(estimator, window, y, x), of(estimator, window, y * scale, x * scale)
    for name in ("hedge_ratio", "z_score", "correlation", "return_correlation", "half_life", "innovation_z"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(one.spread * scale, other.spread)


@given(legs, windows, estimators, st.integers(-5_000, 50_000))
def test_a_shift_of_the_prices_only_moves_the_intercept(moves, window, estimator, shift):
    y, x = lively(moves, window)
    one, other = of(estimator, window, y, x), of(estimator, window, y + shift / 64, x)
    for name in ("hedge_ratio", "spread", "rolling_std", "correlation"):
        steep = np.maximum(1, np.nanmax(np.abs(one.hedge_ratio), initial=0)) ** 2
        assert_close(getattr(one, name), getattr(other, name), steep)
    assert_close(one.intercept + shift / 64, other.intercept, 1e3 * steep)


@given(legs, windows, estimators, st.floats(0.01, 100))
def test_logarithms_do_not_know_the_unit_of_a_price(moves, window, estimator, scale):
    y, x = lively(moves, window)
    one, other = of(estimator + "+log", window, y, x), of(estimator + "+log", window, y * scale, x)
    steep = np.maximum(1, np.nanmax(np.abs(one.hedge_ratio), initial=0)) ** 2
    for name in ("hedge_ratio", "spread", "correlation", "return_correlation"):
        assert_close(getattr(one, name), getattr(other, name), steep)
    assert_close(one.intercept + np.log(scale), other.intercept, 1e3 * steep)


@given(legs, windows)
def test_an_axis_seen_from_the_other_leg_is_the_same(moves, window):
    y, x = lively(moves, window)
    one, other = of("tls", window, y, x), of("tls", window, x, y)
    assert_close(one.correlation, other.correlation)
    plain = np.abs(one.hedge_ratio) < 1e4
    assert_close((one.hedge_ratio * other.hedge_ratio)[plain & (np.abs(other.hedge_ratio) < 1e4)], 1.0)


@given(legs, windows, st.sampled_from(["ols", "tls", "huber"]), st.randoms(use_true_random=False))
def test_the_order_within_the_window_does_not_matter_to_a_line(moves, window, estimator, random):
    y, x = (leg[-window:] for leg in lively(moves, window))
    order = list(range(window))
    random.shuffle(order)
    one, other = of(estimator, window, y, x), of(estimator, window, y[order], x[order])
    steep = np.maximum(1, np.abs(one.hedge_ratio[-1])) ** 2
    assert_close(one.hedge_ratio[-1:], other.hedge_ratio[-1:], steep)
    assert_close(one.intercept[-1:], other.intercept[-1:], 1e3 * steep)


@given(legs, windows)
def test_least_squares_residuals_have_no_slope_left(moves, window):
    y, x = lively(moves, window)
    found = of("ols", window, y, x)
    for t in range(window - 1, len(y)):
        part = slice(t - window + 1, t + 1)
        residuals = y[part] - found.intercept[t] - found.hedge_ratio[t] * x[part]
        assert residuals.sum() == pytest.approx(0, abs=1e-8) and residuals @ (x[part] - x[t]) == pytest.approx(0, abs=1e-6)


@given(legs, windows, estimators, options)
def test_a_row_does_not_know_what_comes_after_it(moves, window, estimator, option):
    y, x = prices(moves)
    half = len(y) // 2
    assert of(estimator + option, window, y, x).rows()[:half] == of(estimator + option, window, y[:half], x[:half]).rows()


@given(legs, windows, estimators, options, st.data())
def test_live_rows_are_those_of_the_batch_from_wherever_they_resume(moves, window, estimator, option, data):
    y, x = prices(moves)
    resumes = data.draw(st.sets(st.integers(0, len(y) - 1), max_size=4))
    method, times = PairMethod.parse(estimator + option), np.arange(len(y)) * HOUR_US
    whole = batch(method, window, y, x, times, NOTHING, len(y))[0]
    rolling, rows, state = Rolling(method, window, 1), [], None
    rolling.load(0, NOTHING, NOTHING, NOTHING, NO_STARTS)
    for t in range(len(y)):
        if t in resumes:
            rolling.load(0, y[:t], x[:t], whole.spread[:t], times[:t], state)
        found, states = rolling.step(ONE, y[t : t + 1], x[t : t + 1], times[t : t + 1])
        state = state_rows(states, 1)[0]
        rows.append(found)
    for name in NAMES:
        ours, theirs = np.array([getattr(row, name)[0] for row in rows]), getattr(whole, name)
        if name in ("hedge_ratio", "intercept", "spread", "correlation", "return_correlation"):
            steep = np.maximum(1, np.nanmax(np.abs(whole.hedge_ratio), initial=0)) ** 2
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12 * steep * 1e3, err_msg=name)
