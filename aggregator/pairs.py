"""The least squares statistics of pair rows, as `aggregator.pairmath.batch` computes them. Pure; y is symbol1, x is symbol2."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from aggregator.pairmath import batch
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]


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
    found, _ = batch(PairMethod(), window, y, x, np.zeros(len(y), dtype=np.int64), spreads_before, new)
    return PairStatistics(*(getattr(found, field.name) for field in fields(PairStatistics)))
