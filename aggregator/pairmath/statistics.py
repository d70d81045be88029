"""The statistics of a pair's rows, as columns."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: A deviation below this share of the price is rounding, not movement: there is none.
FLOOR = 1e-12


def rounding(y: Array, log: bool) -> Array:
    """A deviation of the spread up to this is none; by the row's price of y."""
    return (np.maximum(np.abs(np.log(y)), 1.0) if log else np.abs(y)) * FLOOR


@dataclass(slots=True)
class Statistics:
    """A float64 a row and name; NaN where the window is not full or the value is undefined (a flat leg, no deviation).

    With y = symbol1 and x = symbol2 (their logarithms where the method says so), W the window:

    - `hedge_ratio` b, `intercept` a: by the method's estimator, as known at the row's end.
    - `spread`: y - a - b x with the row's own a and b.
    - `rolling_mean`, `rolling_std` (ddof 1) over the last W spreads, the row's own included; `prior`: over the W before it.
    - `z_score`: (spread - rolling_mean) / rolling_std.
    - `correlation` of y and x over the W rows; `return_correlation` of the W - 1 returns between them.
    - `half_life`: bars until half of a deviation of the spread is gone, over the last W spreads; NaN: it does not revert.
    - `innovation_z`: recursive methods: how far y was from its prediction, in the deviations that the filter expected.
    """

    hedge_ratio: Array
    intercept: Array
    spread: Array
    rolling_mean: Array
    rolling_std: Array
    z_score: Array
    correlation: Array
    return_correlation: Array
    half_life: Array
    innovation_z: Array

    @classmethod
    def of_table(cls, table: Array) -> "Statistics":
        """Columns that are the rows of a (names, rows) table: views, no copies."""
        return cls(*table)

    def rows(self) -> list[tuple[float | None, ...]]:
        """A tuple a row in the order of NAMES, None for NaN."""
        columns = [[None if value != value else value for value in getattr(self, name).tolist()] for name in NAMES]
        return list(zip(*columns, strict=True))


#: The names of the statistics, in the order of `Statistics.rows()`.
NAMES: tuple[str, ...] = tuple(field.name for field in fields(Statistics))


def state_rows(states: Array | None, rows: int) -> list[list[float] | None]:
    """Filter states as lists to be stored, None where there is none."""
    if states is None:
        return [None] * rows
    return [None if state[0] != state[0] else state for state in states.tolist()]
