"""Closes side by side, and their correlations."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.closes import Line, align, closed_until_us
from common.correlation import correlations, returns_of

S = 1_000_000


def line(*bars: tuple[int, float]) -> Line:
    return Line(np.array([at * S for at, _ in bars], dtype=np.int64), np.array([close for _, close in bars]))


def test_a_symbol_without_a_bar_carries_its_close_up_to_the_limit():
    a, b = line((1, 10.0), (2, 11.0), (7, 12.0), (9, 13.0)), line((0, 5.0), (2, 6.0), (3, 7.0), (4, 8.0))
    found = align([a, b], 2 * S, 10, complete=False)
    assert (found.starts_us // S).tolist() == [0, 1, 2, 3, 4, 7, 9]
    assert np.array_equal(found.closes[0], [np.nan, 10, 11, 11, 11, 12, 13], equal_nan=True)
    assert np.array_equal(found.closes[1], [5, 5, 6, 7, 8, np.nan, np.nan], equal_nan=True)
    assert found.carried[1].tolist() == [False, True, False, False, False, True, True]
    complete = align([a, b], 2 * S, 3, complete=True)
    assert (complete.starts_us // S).tolist() == [2, 3, 4] and complete.closes[0].tolist() == [11, 11, 11]


def test_the_newest_rows_are_taken():
    found = align([line((1, 1.0), (2, 2.0), (3, 3.0))], S, 2, complete=False)
    assert (found.starts_us // S).tolist() == [2, 3]
    assert align([], S, 5, complete=True).starts_us.tolist() == []


def test_a_symbol_far_behind_holds_nobody_up():
    watermarks = {"A": 100 * S, "B": 97 * S, "OLD": 5 * S}
    assert closed_until_us(watermarks, ["A", "B", "OLD", "NEVER"], 10 * S) == 97 * S
    assert closed_until_us(watermarks, ["OLD"], 10 * S) == 5 * S
    assert closed_until_us(watermarks, ["NEVER"], 10 * S) is None


@given(st.lists(st.lists(st.integers(-5, 5), min_size=8, max_size=8), min_size=1, max_size=5), st.sampled_from([0.0, 1e5]))
def test_correlations_are_exact_and_none_of_what_does_not_move(steps, level):
    values = level + np.cumsum(np.array(steps), axis=1) / 64
    found = correlations(values)
    exact = [[Fraction(value) for value in each] for each in values.tolist()]
    for i, a in enumerate(exact):
        for j, b in enumerate(exact):
            xy, xx, yy = (sum(p * q for p, q in zip(_centred(u), _centred(v), strict=True)) for u, v in ((a, b), (a, a), (b, b)))
            if not xx or not yy:
                assert math.isnan(found[i, j])
            else:
                assert abs(found[i, j] - float(xy) / math.sqrt(float(xx * yy))) < 1e-12
    assert np.array_equal(found, found.T, equal_nan=True)


def _centred(values: list[Fraction]) -> list[Fraction]:
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def test_a_value_that_is_missing_has_no_correlation_and_spoils_nobody_else():
    values = np.array([[1.0, 2, 4, 3], [2.0, 4, 8, 6], [1.0, np.nan, 2, 3]])
    found = correlations(values)
    assert found[0, 1] == 1.0 and np.isnan(found[2]).all() and np.isnan(found[:, 2]).all()
    assert np.isnan(correlations(values[:, :2])).all(), "two points are always on a line"
    assert returns_of(values[:1]).tolist() == [[1.0, 1.0, -0.25]]
