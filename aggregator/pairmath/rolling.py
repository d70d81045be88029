"""The statistics of many live pairs, a row at a time. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aggregator.pairmath.batch import batch
from aggregator.pairmath.kalman import STATE_SIZE
from aggregator.pairmath.statistics import NAMES, Statistics
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]


class Rolling:
    """`capacity` slots, each the last window of one pair; all of one method and window."""

    def __init__(self, method: PairMethod, window: int, capacity: int) -> None:
        self.method, self.window = method, window
        empty = np.zeros(0)
        self._slots: list[Any] = [(empty, empty, empty, np.zeros(0, dtype=np.int64), None)] * capacity

    def load(
        self, slot: int, y: Array, x: Array, spreads: Array, starts_us: Array, filter_state: Sequence[float] | None = None
    ) -> None:
        """Give a slot the last rows of its pair (oldest first, equally long; `window` of them or all there are).

        `spreads`: NaN where a row had none. `filter_state`: as the last row left it, None: nothing yet.
        """
        last = slice(-self.window, None)
        self._slots[slot] = (y[last], x[last], spreads[last], starts_us[last], filter_state)

    def step(self, slots: Array, y: Array, x: Array, starts_us: Array) -> tuple[Statistics, Array | None]:
        """One row for each of the given slots (no slot twice); answers a value a slot, and the filter states as `batch` does."""
        table = np.full((len(NAMES), len(slots)), np.nan)
        states = np.full((len(slots), STATE_SIZE), np.nan)
        for at, slot in enumerate(slots):
            ys, xs, spreads, starts, state = self._slots[slot]
            ys, xs, starts = np.append(ys, y[at]), np.append(xs, x[at]), np.append(starts, starts_us[at])
            found, after = batch(self.method, self.window, ys, xs, starts, spreads, 1, state)
            table[:, at] = [getattr(found, name)[0] for name in NAMES]
            if after is not None:
                states[at] = after[0]
                state = None if np.isnan(after[0][0]) else after[0].tolist()
            self.load(slot, ys, xs, np.append(spreads, found.spread), starts, state)
        return Statistics.of_table(table), states if self.method.is_recursive else None
