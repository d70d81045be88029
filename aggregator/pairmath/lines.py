"""Straight lines through a window's points, from their centred moments. Pure; a line a column, NaN where there is none."""

from typing import Any, NamedTuple

import numpy as np

from aggregator.pairmath.statistics import FLOOR
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]
#: Huber's tuning constant: 95 % efficient where errors are normal (Huber 1981; the default of statsmodels' RLM).
HUBER_K = 1.345
#: The median absolute deviation of normal errors, in standard deviations.
_MAD_OF_NORMAL = 0.6744897501960817
#: Reweightings of the Huber line. Fixed, so that a row's value depends on nothing but its window.
HUBER_ITERATIONS = 30


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


def divided(numerator: Array, denominator: Array, where: Array) -> Array:
    """The quotient; NaN where not `where`."""
    quotient: Array = np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=where)
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
    r = divided(of.xy, np.sqrt(of.xx) * np.sqrt(of.yy), (of.xx > 0) & (of.yy > 0))
    return np.clip(r, -1.0, 1.0)


def return_correlation(of: Moments, count: int) -> Array:
    """Pearson's of returns; NaN where those of a leg are alike but for rounding."""
    least = FLOOR * FLOOR * (count - 1)
    r = divided(of.xy, np.sqrt(of.xx) * np.sqrt(of.yy), (of.xx > least) & (of.yy > least))
    return np.clip(r, -1.0, 1.0)


def half_life(xy: Array, xx: Array, count: int, floor: Array) -> Array:
    """Bars until half of a deviation is gone: -ln 2 / b, b = xy / xx the slope of the spread's change on the spread before.

    The Ornstein-Uhlenbeck reading (Chan 2013, chapter 2). NaN where b is not negative, or where the spread stands still.
    """
    slope = divided(xy, xx, xx > floor * floor * (count - 1))
    return divided(np.full(len(slope), -np.log(2.0)), slope, slope < 0)


def line(method: PairMethod, y: Array, x: Array, of: Moments) -> tuple[Array, Array, Array]:
    """Slope, and a point (y, x) that the line goes through; `y` and `x` have a window a line."""
    if method.estimator == "huber":
        slope, intercept = huber_line(y, x)
        return slope, intercept, np.zeros(len(slope))
    return tls_slope(of) if method.estimator == "tls" else ols_slope(of), of.y_mean, of.x_mean


def huber_line(y: Array, x: Array) -> tuple[Array, Array]:
    """Slope and intercept of the robust line, a window a line of `y` and `x`.

    Huber's M-estimate by iteratively reweighted least squares: weights min(1, K s / |residual|) with K = 1.345 and
    s = median |residual| / 0.6745, begun at the OLS line, a fixed number of times (Huber 1981; Holland and Welsch 1977;
    statsmodels' RLM with HuberT is the same, run to its tolerance). More than half of the residuals zero: s is zero and the
    line is the last one.
    """
    of = moments(y, x)
    slope = ols_slope(of)
    intercept = of.y_mean - slope * of.x_mean
    for _ in range(HUBER_ITERATIONS):
        distance = np.abs(y - intercept[:, None] - slope[:, None] * x)
        bound = np.median(distance, axis=1) * (HUBER_K / _MAD_OF_NORMAL)
        moves = bound > 0
        weight = np.divide(bound[:, None], distance, out=np.ones_like(distance), where=distance > bound[:, None])
        total = weight.sum(axis=1)
        y_mean, x_mean = (weight * y).sum(axis=1) / total, (weight * x).sum(axis=1) / total
        xc = x - x_mean[:, None]
        weighted = weight * xc
        xx, xy = (weighted * xc).sum(axis=1), (weighted * (y - y_mean[:, None])).sum(axis=1)
        slope = np.where(moves & (xx > 0), divided(xy, xx, xx > 0), slope)
        intercept = np.where(moves, y_mean - slope * x_mean, intercept)
    return slope, intercept
