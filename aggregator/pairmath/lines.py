"""Straight lines through a window's points, from their centred moments. Pure; a line a column, NaN where there is none."""

import math
from typing import Any, NamedTuple

import numpy as np

from aggregator.pairmath.statistics import FLOOR
from aggregator.pairmath.windows import apart, level

Array = np.ndarray[Any, Any]
#: Huber's tuning constant: 95 % efficient where errors are normal (Huber 1981; the default of statsmodels' RLM).
HUBER_K = 1.345
#: The median absolute deviation of normal errors, in standard deviations.
_MAD_OF_NORMAL = 0.6744897501960817
_MINUS_LN_2 = -math.log(2)
#: Reweightings of the Huber line, at most.
HUBER_ITERATIONS = 100


class Moments(NamedTuple):
    """Of each window: means of y and x, sums of the centred products."""

    y_mean: Array
    x_mean: Array
    yy: Array
    xy: Array
    xx: Array


def moments(y: Array, x: Array) -> Moments:
    """Two-pass and centred, a window a line: off the exact result by about 1e-15 of what moves."""
    count = y.shape[-1]
    y_mean, x_mean = y.sum(axis=-1) / count, x.sum(axis=-1) / count
    yc, xc = y - y_mean[..., None], x - x_mean[..., None]
    return Moments(y_mean, x_mean, (yc * yc).sum(axis=-1), (xc * yc).sum(axis=-1), (xc * xc).sum(axis=-1))


def divided(numerator: Array | float, denominator: Array, where: Array) -> Array:
    """The quotient; NaN where not `where`. Divisions by zero are the caller's to ignore (`np.errstate`)."""
    quotient: Array = numerator / denominator
    np.copyto(quotient, np.nan, where=~where)
    return quotient


def ols_slope(of: Moments) -> Array:
    """Least squares of y on x. NaN where x stands still."""
    return divided(of.xy, of.xx, of.xx > 0)


def tls_slope(of: Moments) -> Array:
    """Total least squares: the line with the smallest squared distances at right angles to itself.

    The first principal axis of the centred points: b = (d + sqrt(d^2 + 4 xy^2)) / (2 xy) with d = yy - xx (Golub and Van Loan
    1980; Deming 1943 with equal errors), the form of it that subtracts nothing alike. NaN where x stands still, and where the
    points prefer no direction or the vertical one.
    """
    d = of.yy - of.xx
    r, xy2 = np.hypot(d, 2 * of.xy), 2 * of.xy
    steep = d >= 0
    return divided(np.where(steep, d + r, xy2), np.where(steep, xy2, r - d), (of.xx > 0) & (~steep | (of.xy != 0)))


def correlation(of: Moments) -> Array:
    """Pearson's; NaN where a leg stands still."""
    return _clipped(divided(of.xy, np.sqrt(of.xx) * np.sqrt(of.yy), (of.xx > 0) & (of.yy > 0)))


def return_correlation(of: Moments, count: int) -> Array:
    """Pearson's of returns; NaN where those of a leg are alike but for rounding."""
    least = FLOOR * FLOOR * (count - 1)
    return _clipped(divided(of.xy, np.sqrt(of.xx) * np.sqrt(of.yy), (of.xx > least) & (of.yy > least)))


def _clipped(r: Array) -> Array:
    """To [-1, 1]: rounding must not lead out of it."""
    np.minimum(r, 1.0, out=r)
    np.maximum(r, -1.0, out=r)
    return r


def half_life(xy: Array, xx: Array, count: int, floor: Array) -> Array:
    """Bars until half of a deviation is gone: -ln 2 / b, b = xy / xx the slope of the spread's change on the spread before.

    The Ornstein-Uhlenbeck reading (Chan 2013, chapter 2). NaN where b is not negative, or where the spread stands still.
    """
    slope = divided(xy, xx, xx > floor * floor * (count - 1))
    return divided(_MINUS_LN_2, slope, slope < 0)


def robust(y: Array, x: Array, log: bool) -> tuple[Array, Array, Array]:
    """The Huber line of windows of prices (a window a line): slope, intercept, and how far the last row is above it.

    Differences are taken from the median prices: from a bad print, the good ones would lose their digits.
    """
    middle = (y.shape[1] - 1) // 2
    y0, x0 = np.partition(y, middle, axis=1)[:, middle, None], np.partition(x, middle, axis=1)[:, middle, None]
    yd, xd = apart(y, y0, log), apart(x, x0, log)
    slope, offset = huber_line(yd, xd)
    intercept = (level(y0[:, 0], log) + offset) - slope * level(x0[:, 0], log)
    return slope, intercept, yd[:, -1] - offset - slope * xd[:, -1]


def huber_line(y: Array, x: Array) -> tuple[Array, Array]:
    """Slope and intercept of the robust line, a window a line of `y` and `x`.

    Huber's M-estimate by iteratively reweighted least squares: weights min(1, K s / |residual|) with K = 1.345 and
    s = median |residual| / 0.6745, begun at the OLS line (Huber 1981; Holland and Welsch 1977; the estimate of statsmodels' RLM
    with HuberT). Each window goes on until a step moves its line by less than 1e-13 of K s, at most 100 times, whatever
    windows it is computed with. Half of the residuals zero: s is zero, and the line stays. NaN where x stands still.
    """
    of = moments(y, x)
    slope = ols_slope(of)
    intercept = of.y_mean - slope * of.x_mean
    active = np.flatnonzero(of.xx > 0)
    ys, xs, middle = y[active], x[active], y.shape[1] // 2
    middles = [middle - 1, middle] if y.shape[1] % 2 == 0 else [middle]
    for _ in range(HUBER_ITERATIONS):
        if not len(active):
            break
        distance = np.abs(ys - intercept[active, None] - slope[active, None] * xs)
        bound = np.partition(distance, middles, axis=1)[:, middles].sum(axis=1) * (HUBER_K / _MAD_OF_NORMAL / len(middles))
        weight = bound[:, None] / np.maximum(distance, bound[:, None])
        total = weight.sum(axis=1)
        y_mean, x_mean = (weight * ys).sum(axis=1) / total, (weight * xs).sum(axis=1) / total
        xc = xs - x_mean[:, None]
        weight *= xc
        b = (weight * (ys - y_mean[:, None])).sum(axis=1) / (weight * xc).sum(axis=1)
        moved = np.abs(y_mean - intercept[active] - slope[active] * x_mean) + np.abs(b - slope[active]) * np.abs(xc).max(axis=1)
        goes = (bound > 0) & np.isfinite(b)
        slope[active[goes]], intercept[active[goes]] = b[goes], (y_mean - b * x_mean)[goes]
        goes &= moved > 1e-13 * bound
        if not goes.all():
            active, ys, xs = active[goes], ys[goes], xs[goes]
    return slope, intercept
