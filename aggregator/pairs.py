"""Pair statistics over rolling windows, each row from bars up to its own time only. Pure; y is symbol1, x is symbol2.

For row t: hedge ratio b and intercept a by least squares of y on x over the last W rows, `spread = y - a - b x` with that row's
own a and b; mean and deviation (ddof 1) over the last W spreads, the current one included; correlation of the prices over W.
All sums are two-pass centred, on differences from the window's last price: exact to about 1e-15 of what moves, where running
sums are not, and exactly zero where nothing does.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]
#: Windows looked at in one go: bounds the memory of a long history.
_CHUNK_NUMBERS = 4_000_000
#: A deviation of the spread below this share of the price is rounding, not movement: there is none.
FLOOR = 1e-12


@dataclass(slots=True)
class PairStatistics:
    """A value a row; NaN where the window is not full or the value is undefined (a flat leg, no deviation)."""

    hedge_ratio: Array
    intercept: Array
    spread: Array
    rolling_mean: Array
    rolling_std: Array
    z_score: Array
    correlation: Array

    def rows(self) -> list[tuple[float | None, ...]]:
        """The rows, None for NaN."""
        columns = [[None if value != value else value for value in getattr(self, field.name).tolist()] for field in fields(self)]
        return list(zip(*columns, strict=True))


def pair_statistics(y: Array, x: Array, spreads_before: Array, window: int, new: int) -> PairStatistics:
    """Statistics of the last `new` rows of the aligned closes `y` and `x` (float64, oldest first).

    The rows before them are context: `window - 1` of them fill the first window. `spreads_before` are the spreads of the rows
    before the new ones (NaN where there was none), up to `window - 1` of them.
    """
    slope, intercept, spread, correlation = _regressions(y, x, window, new)
    history = np.concatenate((spreads_before[-(window - 1) :] if window > 1 else spreads_before[:0], spread))
    mean, deviation = _means_and_deviations(history, window, new)
    deviation[~(deviation > np.abs(y[-new:]) * FLOOR)] = np.nan
    z_score = (spread - mean) / deviation
    return PairStatistics(slope, intercept, spread, mean, deviation, z_score, correlation)


def _regressions(y: Array, x: Array, window: int, new: int) -> tuple[Array, Array, Array, Array]:
    """Slope, intercept, the last row's residual, correlation of each window."""
    slope, intercept, residual, correlation = (np.full(new, np.nan) for _ in range(4))
    for rows, ys, xs in _windows(window, new, y, x):
        y_last, x_last = ys[:, -1], xs[:, -1]
        ys, xs = ys - y_last[:, None], xs - x_last[:, None]
        y_mean, x_mean = ys.sum(axis=1) / window, xs.sum(axis=1) / window
        yc, xc = ys - y_mean[:, None], xs - x_mean[:, None]
        xx, xy, yy = (xc * xc).sum(axis=1), (xc * yc).sum(axis=1), (yc * yc).sum(axis=1)
        x_moves, y_moves = xs.max(axis=1) > xs.min(axis=1), ys.max(axis=1) > ys.min(axis=1)
        b = np.divide(xy, xx, out=np.full(len(xx), np.nan), where=x_moves)
        slope[rows], residual[rows] = b, b * x_mean - y_mean
        intercept[rows] = (y_last + y_mean) - b * (x_last + x_mean)
        both = x_moves & y_moves
        r = np.divide(xy, np.sqrt(xx) * np.sqrt(yy), out=np.full(len(xx), np.nan), where=both)
        correlation[rows] = np.clip(r, -1.0, 1.0)
    return slope, intercept, residual, correlation


def _means_and_deviations(spreads: Array, window: int, new: int) -> tuple[Array, Array]:
    mean, deviation = np.full(new, np.nan), np.full(new, np.nan)
    for rows, values in _windows(window, new, spreads):
        last = values[:, -1]
        values = values - last[:, None]
        centre = values.sum(axis=1) / window
        mean[rows] = last + centre
        deviation[rows] = np.sqrt(((values - centre[:, None]) ** 2).sum(axis=1) / (window - 1))
    return mean, deviation


def _windows(window: int, new: int, *series: Array) -> Any:
    """(slice of new rows, their windows of each series) in bounded chunks; rows without a full window are left out."""
    full = max(0, min(new, len(series[0]) - window + 1))
    if not full:
        return
    views = [sliding_window_view(values, window)[-full:] for values in series]
    step = max(1, _CHUNK_NUMBERS // window)
    for start in range(0, full, step):
        stop = min(full, start + step)
        yield slice(new - full + start, new - full + stop), *[np.ascontiguousarray(view[start:stop]) for view in views]
