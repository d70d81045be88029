"""All statistics of a stretch of rows at once, each row from its own window alone. Pure; y is symbol1, x is symbol2.

Sums are two-pass and centred, on differences from the window's last price: exact to about 1e-15 of what moves, where running
sums are not, and exactly zero where nothing does. A row's bits do not depend on which rows are computed with it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aggregator.pairmath import kalman
from aggregator.pairmath.lines import correlation, divided, half_life, moments, ols_slope, return_correlation, robust, tls_slope
from aggregator.pairmath.statistics import NAMES, Statistics, rounding
from aggregator.pairmath.windows import apart, level, returns, windows
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]


def batch(
    method: PairMethod,
    window: int,
    y: Array,
    x: Array,
    starts_us: Array,
    spreads_before: Array,
    new: int,
    filter_state: Sequence[float] | None = None,
) -> tuple[Statistics, Array | None]:
    """Statistics of the last `new` rows of the aligned closes `y` and `x` (float64, oldest first; window >= 3).

    The rows before the new ones are context: `window - 1` of them fill the first window. `starts_us` are the rows' bar starts
    (int64, as long as `y`). `spreads_before` are the stored spreads of the rows before the new ones (NaN where there was none),
    the last `window` of them count.

    The second answer is None but for recursive methods: there it is what each new row leaves to the next, (new, STATE_SIZE)
    float64, NaN where there is nothing yet; see `state_rows`. `filter_state` is the one that the row before the new ones left:
    with it, rows are those of an unbroken run. Without it the filter starts at the first new row with a full window, so a
    recomputation begins at the first row of a UTC day (where the filter starts again anyway), or at the first row of all.
    """
    table = np.full((len(NAMES), new), np.nan)
    found = Statistics.of_table(table)
    floor = rounding(y[len(y) - new :], method.log)
    states = None
    with np.errstate(all="ignore"):  # what is undefined becomes NaN below
        _fit(method, window, y, x, new, found)
        if method.is_recursive:
            states = _follow(method, window, y, x, starts_us, new, filter_state, found)
        _describe_spreads(method, window, np.concatenate((spreads_before[-window:], found.spread)), new, floor, found)
    np.copyto(table, np.nan, where=~np.isfinite(table))
    return found, states


def _fit(method: PairMethod, window: int, y: Array, x: Array, new: int, found: Statistics) -> None:
    """Correlations, and the line of the methods that need no more than the window (of the others, the least squares line)."""
    log = method.log
    for rows, ys, xs in windows(window, new, y, x):
        y_last, x_last = ys[:, -1], xs[:, -1]
        yd, xd = apart(ys, y_last[:, None], log), apart(xs, x_last[:, None], log)
        of = moments(yd, xd)
        found.correlation[rows] = correlation(of)
        if method.estimator == "huber":
            found.hedge_ratio[rows], found.intercept[rows], found.spread[rows] = robust(ys, xs, log)
            continue
        slope = tls_slope(of) if method.estimator == "tls" else ols_slope(of)
        found.hedge_ratio[rows], found.spread[rows] = slope, slope * of.x_mean - of.y_mean
        found.intercept[rows] = (level(y_last, log) + of.y_mean) - slope * (level(x_last, log) + of.x_mean)
    for rows, ys, xs in windows(window - 1, new, returns(y, log), returns(x, log)):
        of = moments(ys - ys[:, -1:], xs - xs[:, -1:])
        found.return_correlation[rows] = return_correlation(of, window - 1)


def _follow(
    method: PairMethod, window: int, y: Array, x: Array, starts_us: Array, new: int,
    filter_state: Sequence[float] | None, found: Statistics,
) -> Array:  # fmt: skip
    """Put the filter's line in the place of the least squares line, where there is that one."""
    before = None if filter_state is None else kalman.FilterState(*filter_state)
    undefined = np.isnan(found.hedge_ratio)  # the window is not full, or x stands still
    states, errors, variances = kalman.filter_rows(window, y, x, starts_us, new, method.log, before)
    of, innovation = kalman.FilterState(*states.T), kalman.Innovation(errors, variances)
    fill_from_filter(of, innovation, y[len(y) - new :], x[len(x) - new :], method.log, found)
    for column in (found.hedge_ratio, found.intercept, found.spread, found.innovation_z):
        column[undefined] = np.nan
    return states


def fill_from_filter(
    of: kalman.FilterState, innovation: kalman.Innovation, y: Array, x: Array, log: bool, found: Statistics
) -> None:
    """What the filter says of rows whose prices are `y` and `x`."""
    yd, xd = apart(y, of.y0, log), apart(x, of.x0, log)
    deviation = np.sqrt(innovation.variance)
    found.hedge_ratio[:] = of.slope
    found.intercept[:] = level(of.y0, log) + of.offset - of.slope * level(of.x0, log)
    found.spread[:] = yd - of.offset - of.slope * xd
    found.innovation_z[:] = divided(innovation.error, deviation, deviation > rounding(y, log))


def _describe_spreads(method: PairMethod, window: int, spreads: Array, new: int, floor: Array, found: Statistics) -> None:
    """Mean, deviation, z-score and half-life; `spreads` ends with the new rows' own."""
    counted = spreads[:-1] if method.prior else spreads
    for rows, values in windows(window, new, counted):
        last = values[:, -1]
        values = values - last[:, None]
        centre = values.sum(axis=1) / window
        found.rolling_mean[rows] = last + centre
        deviation = np.sqrt(((values - centre[:, None]) ** 2).sum(axis=1) / (window - 1))
        found.rolling_std[rows] = np.where(deviation > floor[rows], deviation, np.nan)
    found.z_score[:] = (found.spread - found.rolling_mean) / found.rolling_std
    for rows, values in windows(window, new, spreads):
        of = moments(np.diff(values), values[:, :-1] - values[:, -2:-1])
        found.half_life[rows] = half_life(of.xy, of.xx, window - 1, floor[rows])
