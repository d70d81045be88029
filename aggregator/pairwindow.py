"""The last window of one series, and the statistics of the rows that follow it. Pure: what live rows and computed ones share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from aggregator.legs import Row
from aggregator.pairmath import NAMES, basket_batch, batch, state_rows
from common.pairmethod import PairMethod
from common.pairseries import SeriesKey

Array = np.ndarray[Any, Any]
#: What one number of a window costs a method, against least squares.
_COSTS = {"huber": 30.0, "johansen": 30.0}


class Values(NamedTuple):
    """What is computed of a row; None where undefined. The vectors are None but for baskets, the state but for filters."""

    statistics: tuple[float | None, ...]  # in the order of pairmath.NAMES
    hedge_ratios: list[float | None] | None = None
    filter_state: list[float] | None = None


class Window:
    """The last `window` rows; `extend` moves it on."""

    def __init__(self, key: SeriesKey, legs: int = 2) -> None:
        self.size, self.basket = key.window, key.method if legs > 2 else None
        self.method = PairMethod.parse(key.method) if legs == 2 else PairMethod()
        self.prices = np.zeros((0, legs))  # NaN: a row left out, for it used a bar with a gap
        self.spreads = np.zeros(0)
        self.starts_us = np.zeros(0, dtype=np.int64)
        self.filter_state: list[float] | None = None

    def extend(self, rows: Sequence[Row]) -> list[Values]:
        """Statistics of new rows, each from rows up to its own alone."""
        if not rows:
            return []
        prices = np.concatenate((self.prices, prices_of(rows, self.method.strict)))
        starts_us = np.concatenate((self.starts_us, np.array([row.start_us for row in rows], dtype=np.int64)))
        spread, values = self._compute(prices, starts_us, len(rows))
        kept = slice(-self.size, None)
        self.prices, self.starts_us = prices[kept], starts_us[kept]
        self.spreads = np.concatenate((self.spreads, spread))[kept]
        return values

    def _compute(self, prices: Array, starts_us: Array, new: int) -> tuple[Array, list[Values]]:
        if self.basket:
            return self._of_basket(prices, new)
        y, x = np.ascontiguousarray(prices.T)
        found, states = batch(self.method, self.size, y, x, starts_us, self.spreads, new, self.filter_state)
        kept = state_rows(states, new)
        self.filter_state = kept[-1]
        return found.spread, [Values(row, None, state) for row, state in zip(found.rows(), kept, strict=True)]

    def _of_basket(self, prices: Array, new: int) -> tuple[Array, list[Values]]:
        """Baskets have no filters, so the spreads before are computed again with the window's rows."""
        found = basket_batch(prices, self.size, "johansen" if self.basket == "johansen" else "ols")
        spreads = np.concatenate((self.spreads, found.spread[-new:]))
        mean, deviation, score = _scores(spreads, self.size, new, np.abs(prices[-new:, 0]))
        ratios = found.ratios[-new:].tolist()
        columns = [found.intercept[-new:].tolist(), found.spread[-new:].tolist(), mean, deviation, score]
        undefined = (None,) * (len(NAMES) - 6)
        return found.spread[-new:], [
            Values((*_or_none([ratio[0], *row]), *undefined), _or_none(ratio) if ratio[0] == ratio[0] else None)
            for ratio, *row in zip(ratios, *columns, strict=True)
        ]


def prices_of(rows: Sequence[Row], strict: bool) -> Array:
    """Closes (rows, legs) float64; all NaN where `strict` leaves a row out because a bar of it has a gap."""
    return np.array([[np.nan if strict and row.has_gap else leg.close for leg in row.legs] for row in rows])


def cost_of(key: SeriesKey, rows: int) -> float:
    """About how many numbers are worked on for so many rows; a hundred million are a second or two."""
    estimator = key.method.split("+")[0]
    if estimator == "kalman":
        return rows * (key.window + 1500.0)
    return max(0, rows - key.window) * key.window * _COSTS.get(estimator, 3.0) + rows * 300.0


def _scores(spreads: Array, window: int, new: int, price: Array) -> tuple[list[float], list[float], list[float]]:
    """Mean, deviation and z-score over the last `window` spreads of each of the new rows; NaN until there are so many."""
    from aggregator.pairmath.statistics import FLOOR
    from aggregator.pairmath.windows import windows

    mean, deviation = np.full(new, np.nan), np.full(new, np.nan)
    for rows, values in windows(window, new, spreads):
        centred = values - values[:, -1:]
        centre = centred.sum(axis=1) / window
        mean[rows] = values[:, -1] + centre
        deviation[rows] = np.sqrt(((centred - centre[:, None]) ** 2).sum(axis=1) / (window - 1))
    deviation[~(deviation > price * FLOOR)] = np.nan
    return mean.tolist(), deviation.tolist(), ((spreads[-new:] - mean) / deviation).tolist()


def _or_none(values: Sequence[float]) -> list[float | None]:
    return [value if value == value and abs(value) != float("inf") else None for value in values]
