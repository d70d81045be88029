"""Statistics of one symbol's bars, each row from bars up to its own time. Pure; NaN where undefined."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class PriceStatistics:
    """A value a bar.

    `returns`: close over the close before, less 1. `volatility`: deviation (ddof 1) of the last W returns. `volume_ma`: mean of
    the last W volumes. `price_change_pct`: close over open, less 1, in percent. `high_low_range`: high less low.
    """

    returns: Array
    volatility: Array
    volume_ma: Array
    price_change_pct: Array
    high_low_range: Array

    def rows(self) -> list[tuple[float | None, ...]]:
        """The rows, None for NaN."""
        columns = [[None if value != value else value for value in getattr(self, field.name).tolist()] for field in fields(self)]
        return list(zip(*columns, strict=True))


def price_statistics(opens: Array, highs: Array, lows: Array, closes: Array, volumes: Array, window: int) -> PriceStatistics:
    """Statistics of all bars given (float64, oldest first)."""
    returns = np.full(len(closes), np.nan)
    returns[1:] = closes[1:] / closes[:-1] - 1
    return PriceStatistics(
        returns=returns,
        volatility=_rolling(returns, window, lambda values: values.std(axis=1, ddof=1)),
        volume_ma=_rolling(volumes, window, lambda values: values.mean(axis=1)),
        price_change_pct=(closes / opens - 1) * 100,
        high_low_range=highs - lows,
    )


def _rolling(values: Array, window: int, statistic: Any) -> Array:
    result = np.full(len(values), np.nan)
    if len(values) >= window:
        result[window - 1 :] = statistic(np.ascontiguousarray(sliding_window_view(values, window)))
    return result
