"""Baskets: one y against several x, a vector of hedge ratios a row. Pure; numpy alone."""

from typing import Any, Literal, NamedTuple

import numpy as np

from aggregator.pairmath.statistics import FLOOR
from aggregator.pairmath.windows import windows

Array = np.ndarray[Any, Any]
BasketKind = Literal["ols", "johansen"]
#: A leg that the legs before it explain but for this share (of deviation) adds nothing: there are no ratios.
_COLLINEAR = 1e-9


class BasketStatistics(NamedTuple):
    """A line a row, NaN where undefined: `ratios` (rows, legs - 1), the others (rows,).

    `spread = y - intercept - sum(ratios * x)`; mean, deviation (ddof 1) and z-score over the last W spreads.
    """

    ratios: Array
    intercept: Array
    spread: Array
    rolling_mean: Array
    rolling_std: Array
    z_score: Array


def basket_batch(ys: Array, window: int, kind: BasketKind = "ols") -> BasketStatistics:
    """Statistics of all rows of `ys` (rows, legs; float64, oldest first), each from its own last `window` rows.

    Leg 0 is y, the others are the x. `ols`: least squares of y on the x. `johansen`: the first cointegrating vector (constant,
    one lagged difference), divided so that y counts 1; `window` must leave it degrees of freedom: at least 3 legs + 3 rows.
    """
    rows, legs = ys.shape
    least = legs + 1 if kind == "ols" else 3 * legs + 3
    if window < least:
        raise ValueError(f"window must be at least {least} for a {kind} basket of {legs} legs, was {window}")
    ratios, offset = np.full((rows, legs - 1), np.nan), np.full(rows, np.nan)
    estimate = _ols if kind == "ols" else _johansen
    for found, *columns in windows(window, rows, *ys.T):
        values = np.stack(columns, axis=-1)
        apart = values - values[:, -1:, :]
        mean = apart.sum(axis=1) / window
        ratios[found] = estimate(apart, apart - mean[:, None, :])
        offset[found] = mean[:, 0] - (ratios[found] * mean[:, 1:]).sum(axis=1)
    intercept = ys[:, 0] + offset - (ratios * ys[:, 1:]).sum(axis=1)
    return BasketStatistics(ratios, intercept, -offset, *_scores(-offset, window, np.abs(ys[:, 0]) * FLOOR))


def _ols(apart: Array, centred: Array) -> Array:
    """Least squares on centred legs, each in its own deviations, by QR; (windows, legs - 1)."""
    y, x = centred[:, :, 0], centred[:, :, 1:]
    size = np.sqrt((x * x).sum(axis=1))
    ratios = np.full(size.shape, np.nan)
    moves = np.flatnonzero((size > 0).all(axis=1))
    q, r = np.linalg.qr(x[moves] / size[moves, None, :])
    free = (np.abs(np.diagonal(r, axis1=1, axis2=2)) > _COLLINEAR).all(axis=1)
    right = (q[free] * y[moves][free][:, :, None]).sum(axis=1)
    ratios[moves[free]] = np.linalg.solve(r[free], right[:, :, None])[:, :, 0] / size[moves[free]]
    return ratios


def _johansen(apart: Array, centred: Array) -> Array:
    return np.stack([_johansen_ratios(values) for values in apart])


def _johansen_ratios(values: Array) -> Array:
    """Minus the other legs' weights in the first cointegrating vector, over y's; NaN where there is none.

    Johansen 1991, as statsmodels' coint_johansen(det_order=0, k_ar_diff=1): residuals of the changes and of the levels on the
    change before and a constant; the vector of the largest squared canonical correlation between the two. The correlations are
    the singular values of Q0' Q1, from QR of the residuals, where moment matrices would square the error.
    """
    nothing = np.full(values.shape[1] - 1, np.nan)
    size = (values - values.mean(axis=0)).std(axis=0)
    if not (size > 0).all():
        return nothing
    scaled = values / size
    changes = np.diff(scaled, axis=0)
    lagged = changes[:-1] - changes[:-1].mean(axis=0)
    basis, kept = np.linalg.qr(lagged)
    if (np.abs(np.diagonal(kept)) <= _COLLINEAR * np.abs(kept).max()).any():
        return nothing
    sides = []
    for side in (changes[1:], scaled[1:-1]):
        centred = side - side.mean(axis=0)
        centred = centred - basis @ (basis.T @ centred)
        q, r = np.linalg.qr(centred)
        if (np.abs(np.diagonal(r)) <= _COLLINEAR * np.abs(r).max()).any():
            return nothing
        sides.append((q, r))
    (q0, _), (q1, r1) = sides
    right = np.linalg.svd(q0.T @ q1)[2]
    vector = np.linalg.solve(r1, right[0]) / size
    return -vector[1:] / vector[0] if abs(vector[0]) > _COLLINEAR * np.abs(vector).max() else nothing


def _scores(spread: Array, window: int, floor: Array) -> tuple[Array, Array, Array]:
    mean, deviation = np.full(len(spread), np.nan), np.full(len(spread), np.nan)
    for rows, values in windows(window, len(spread), spread):
        last = values[:, -1]
        values = values - last[:, None]
        centre = values.sum(axis=1) / window
        mean[rows] = last + centre
        deviation[rows] = np.sqrt(((values - centre[:, None]) ** 2).sum(axis=1) / (window - 1))
    deviation[~(deviation > floor)] = np.nan
    return mean, deviation, (spread - mean) / deviation
