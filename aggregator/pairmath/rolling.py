"""The statistics of many live pairs, a row of each at a time, at a cost that does not grow with the window. Pure.

Each slot holds the last window of one pair. Sums over a window are two parts added: a *tail*, the window's rows up to the slot's
last *turn*, and a *head*, the rows since. At a turn (every W - 2 rows) all tails are summed backwards from the newest row in one
go; each row then adds itself to the head. Nothing is ever subtracted, so what has left the window has left no trace.

Values are differences from the row of the turn, which every window until the next turn contains. So n (mean)^2 is at most n - 1
times the centred sum of squares, and the formula `sum of squares - n mean^2` loses at most log2(n) bits, whatever the prices do;
and where nothing moves, all differences are exactly zero. docs/decisions/0016 has the proof and the figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aggregator.pairmath import kalman
from aggregator.pairmath.batch import fill_from_filter
from aggregator.pairmath.lines import Moments, correlation, half_life, ols_slope, return_correlation, robust, tls_slope
from aggregator.pairmath.statistics import NAMES, Statistics, rounding
from aggregator.pairmath.windows import apart, level
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]
#: Sums a window has: of y, x and their returns; the squares of the four; y x of both; the spread, its square, change x before.
_SUMS = 13
_PRICES, _SPREAD, _CHANGE = slice(0, 10), slice(10, 12), 12
#: What differences are taken from: y, x and their returns, the spread; then the levels of y and x.
_REFERENCES = 7
#: Rows of windows that the robust line, or a start of the filter, works on in one go; and a turn.
_CHUNK_NUMBERS, _TURN_NUMBERS = 1_000_000, 20_000
#: Slots turn in groups, this many rows apart: at one row it costs a pause, each alone it costs calls.
_ROWS_APART = 16


class Rolling:
    """`capacity` slots, each the last window of one pair; all of one method and window (>= 3).

    Memory: about 150 bytes a slot and row of the window. A slot is free until `load`; loading again replaces what it held.
    """

    def __init__(self, method: PairMethod, window: int, capacity: int) -> None:
        if window < 3:
            raise ValueError(f"window must be at least 3, was {window}")
        self.method, self.window = method, window
        self._turn = window - 2
        self._rows = np.empty((3, 0, window + self._turn))  # y, x, spread: the window at the turn, then the rows since
        self._tails = np.empty((0, self._turn, _SUMS))  # [slot, turn - since]
        self._heads = np.empty((_SUMS, 0))
        self._references = np.empty((_REFERENCES, 0))
        self._before = np.empty((3, 0))  # y, x, spread of the last row
        self._described = np.empty((2, 0))  # mean and deviation of the last W spreads
        self._filters = np.empty((kalman.STATE_SIZE, 0))
        self._since = np.empty(0, dtype=np.int64)  # rows since the turn
        self._due = np.empty(0, dtype=np.int64)  # the turn comes after so many
        self._days = np.empty(0, dtype=np.int64)
        self.grow(capacity)

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return len(self._since)

    def grow(self, capacity: int) -> None:
        """Make it at least this many slots; those there are keep what they hold."""
        more = max(0, capacity - self.capacity)
        for name, axis in (
            ("_rows", 1), ("_tails", 0), ("_heads", 1), ("_references", 1), ("_before", 1), ("_described", 1), ("_filters", 1),
            ("_since", 0), ("_due", 0), ("_days", 0),
        ):  # fmt: skip
            old = getattr(self, name)
            shape = list(old.shape)
            shape[axis] = more
            setattr(self, name, np.concatenate((old, np.full(shape, -1 if old.dtype == np.int64 else np.nan, old.dtype)), axis))

    def load(
        self, slot: int, y: Array, x: Array, spreads: Array, starts_us: Array, filter_state: Sequence[float] | None = None
    ) -> None:
        """Give a slot the last rows of its pair (oldest first, equally long; the last `window` of them count, or all there are).

        `spreads`: as stored, NaN where a row had none. `filter_state`: as the last row left it, None: nothing yet.
        """
        window = self.window
        count = min(window, len(y))
        self._rows[:, slot] = np.nan
        for series, values in enumerate((y, x, spreads)):
            self._rows[series, slot, window - count : window] = values[len(values) - count :]
        self._days[slot] = starts_us[-1] // kalman.DAY_US if count else -1
        self._filters[:, slot] = np.nan if filter_state is None else filter_state
        recent = self._rows[2, slot, :window]
        centred = recent - recent[-1]
        centred -= centred.sum() / window
        self._described[:, slot] = recent[-1] - centred[-1], np.sqrt((centred * centred).sum() / (window - 1))
        self._before[:, slot] = self._rows[:, slot, window - 1]
        self._since[slot] = 0
        self._turn_over(np.array([slot]))
        groups = max(1, self._turn // _ROWS_APART)  # not all slots turn at one row
        self._due[slot] = self._turn - slot % groups * self._turn // groups

    def step(self, slots: Array, y: Array, x: Array, starts_us: Array) -> tuple[Statistics, Array | None]:
        """One row for each of the given slots (none twice): closes, and the starts of their bars.

        Answers a value a slot, in their order; and what `batch` answers of filter states, a line a slot.
        """
        with np.errstate(all="ignore"):  # what is undefined becomes NaN below
            due = slots[self._since[slots] >= self._due[slots]]
            step = max(1, _TURN_NUMBERS // self.window)
            for at in range(0, len(due), step):
                self._turn_over(due[at : at + step])
            return self._step(slots, y, x, starts_us)

    def _turn_over(self, slots: Array) -> None:
        """The rows move to the front, the last becomes what differences are taken from, tails are summed anew."""
        window, turn, log = self.window, self._turn, self.method.log
        rows = self._rows[:, slots[:, None], self._since[slots][:, None] + np.arange(window)]
        self._rows[:, slots, :window] = rows
        newest = rows[:, :, :0:-1]  # from the newest back, the oldest left out: no window from now on holds it
        references = np.empty((_REFERENCES, len(slots)))
        references[0], references[1], references[4] = rows[:, :, -1]
        changes = newest - rows[:, :, -2::-1]  # of each row from the one before it
        terms = np.zeros((_SUMS, len(slots), window - 1))
        terms[0:2] = apart(newest[:2], references[0:2, :, None], log)
        terms[10] = newest[2] - references[4][:, None]
        since_before = changes[:2] / rows[:2, :, -2::-1]
        if log:
            np.log1p(since_before, out=since_before)
        references[2:4] = since_before[:, :, 0]
        references[5], references[6] = level(references[0], log), level(references[1], log)
        # what belongs to two rows comes a place later: a window of W rows has W - 1 of them
        terms[2:4, :, 1:] = (since_before - references[2:4, :, None])[:, :, :-1]
        np.multiply(terms[0:4], terms[0:4], out=terms[4:8])
        np.multiply(terms[0:4:2], terms[1:4:2], out=terms[8:10])
        np.multiply(terms[10], terms[10], out=terms[11])
        np.multiply(terms[10, :, 1:], changes[2, :, :-1], out=terms[12, :, 1:])
        np.cumsum(terms, axis=2, out=terms)
        self._tails[slots] = terms[:, :, 1:].transpose(1, 2, 0)
        self._references[:, slots] = references
        self._heads[:, slots] = 0.0
        self._since[slots], self._due[slots] = 0, turn

    def _step(self, slots: Array, y: Array, x: Array, starts_us: Array) -> tuple[Statistics, Array | None]:
        method, window, log = self.method, self.window, self.method.log
        table = np.full((len(NAMES), len(slots)), np.nan)
        found = Statistics.of_table(table)
        chosen = _chosen(slots)
        since = self._since[chosen] + 1
        self._since[chosen] = since
        heads, references, before = _taken(self._heads, chosen), _taken(self._references, chosen), _taken(self._before, chosen)
        tails = np.take(self._tails.reshape(-1, _SUMS), slots * self._turn + (self._turn - since), axis=0).T

        values = np.empty((4, len(slots)))
        np.subtract(y, references[0], out=values[0])
        np.subtract(x, references[1], out=values[1])
        np.subtract(y, before[0], out=values[2])
        np.subtract(x, before[1], out=values[3])
        values[2:] /= before[:2]
        if log:
            values[:2] /= references[:2]
            np.log1p(values, out=values)
        values[2:] -= references[2:4]
        heads[0:4] += values
        heads[4:8] += values * values
        heads[8:10] += values[0::2] * values[1::2]
        of, of_returns = _moments(heads[_PRICES] + tails[_PRICES], window)
        found.correlation[:] = correlation(of)
        found.return_correlation[:] = return_correlation(of_returns, window - 1)

        found.hedge_ratio[:] = slope = tls_slope(of) if method.estimator == "tls" else ols_slope(of)
        found.intercept[:] = (references[5] + of.y_mean) - slope * (references[6] + of.x_mean)
        found.spread[:] = (values[0] - of.y_mean) - slope * (values[1] - of.x_mean)
        at = slots * self._rows.shape[2] + since
        rows = self._rows.reshape(3, -1)
        rows[0, at + (window - 1)], rows[1, at + (window - 1)] = y, x
        if method.estimator == "huber":
            self._fit_robustly(slots, since, found)
        states = self._follow(slots, chosen, since, y, x, starts_us, found) if method.is_recursive else None

        rows[2, at + (window - 1)] = found.spread
        self._describe(chosen, y, before[2], rows[2, at], heads, tails, references[4], found)
        self._heads[:, chosen] = heads
        self._before[:, chosen] = y, x, found.spread
        np.copyto(table, np.nan, where=~np.isfinite(table))
        return found, states

    def _describe(
        self, chosen: Any, y: Array, before: Array, first: Array, heads: Array, tails: Array, reference: Array, found: Statistics
    ) -> None:
        """Mean, deviation, z-score and half-life of the spread; `before`: that of the row before, `first`: the window's first."""
        window, floor = self.window, rounding(y, self.method.log)
        spread, change = found.spread - reference, found.spread - before
        squares = spread * spread
        lagged, lagged_squares = heads[_SPREAD] + tails[_SPREAD]  # rows t - W + 1 to t - 1: the spreads before
        heads[10] += spread
        heads[11] += squares
        heads[12] += (before - reference) * change
        total = lagged + spread
        mean = total / window
        deviation = np.sqrt(np.maximum(lagged_squares + squares - total * mean, 0.0) / (window - 1))
        centre = spread - mean
        mean += reference
        if self.method.prior:
            told = self._described[:, chosen].copy()
            self._described[:, chosen] = mean, deviation
            mean, deviation = told
            centre = found.spread - mean
        np.copyto(deviation, np.nan, where=~(deviation > floor))
        found.rolling_mean[:], found.rolling_std[:] = mean, deviation
        np.divide(centre, deviation, out=found.z_score)
        mean_before = lagged / (window - 1)
        products = heads[_CHANGE] + tails[_CHANGE] - mean_before * (found.spread - first)
        found.half_life[:] = half_life(products, lagged_squares - lagged * mean_before, window - 1, floor)

    def _windows(self, slots: Array, since: Array) -> tuple[Array, Array]:
        """y and x of the slots' windows, a window a line."""
        at = since[:, None] + np.arange(self.window)
        return self._rows[0, slots[:, None], at], self._rows[1, slots[:, None], at]

    def _fit_robustly(self, slots: Array, since: Array, found: Statistics) -> None:
        """As `batch` does it, from all rows of the window."""
        log, step = self.method.log, max(1, _CHUNK_NUMBERS // self.window)
        for start in range(0, len(slots), step):
            rows = slice(start, start + step)
            windows = self._windows(slots[rows], since[rows])
            found.hedge_ratio[rows], found.intercept[rows], found.spread[rows] = robust(*windows, log)

    def _follow(self, slots: Array, chosen: Any, since: Array, y: Array, x: Array, starts_us: Array, found: Statistics) -> Array:
        """The filter's line in the place of the least squares line; answers the states."""
        undefined = np.isnan(found.hedge_ratio)
        days = starts_us // kalman.DAY_US
        states = _taken(self._filters, chosen)
        goes_on = (days == self._days[chosen]) & (states[0] == states[0])
        before = kalman.FilterState(*states)
        log = self.method.log
        after, innovation = kalman.followed(before, apart(y, before.y0, log), apart(x, before.x0, log), self.window)
        states = np.array(after)
        errors, variances = innovation
        begins = np.flatnonzero(~goes_on)
        if len(begins):
            self._start(slots, since, begins, states, errors, variances)
        self._filters[:, chosen], self._days[chosen] = states, days
        fill_from_filter(kalman.FilterState(*states), kalman.Innovation(errors, variances), y, x, log, found)
        for column in (found.hedge_ratio, found.intercept, found.spread, found.innovation_z):
            column[undefined] = np.nan
        return states.T

    def _start(
        self, slots: Array, since: Array, begins: Array, states: Array, errors: Array, variances: Array
    ) -> None:  # fmt: skip
        step = max(1, _CHUNK_NUMBERS // self.window)
        for at in range(0, len(begins), step):
            some = begins[at : at + step]
            state, innovation = kalman.started(*self._windows(slots[some], since[some]), self.method.log)
            states[:, some], errors[some], variances[some] = state, innovation.error, innovation.variance


def _chosen(slots: Array) -> Any:
    """The slots as a slice where they are one after the other: then columns are views, and nothing is copied."""
    count = len(slots)
    if count and slots[-1] - slots[0] == count - 1 and (slots[1:] > slots[:-1]).all():
        return slice(int(slots[0]), int(slots[0]) + count)
    return slots


def _taken(columns: Array, chosen: Any) -> Array:
    return columns[:, chosen] if isinstance(chosen, slice) else np.take(columns, chosen, axis=1)


def _moments(sums: Array, window: int) -> tuple[Moments, Moments]:
    """Of prices and of returns, from the ten sums of a window (rows of `sums`)."""
    counts = np.array([window, window, window - 1, window - 1], dtype=np.float64)[:, None]
    means = sums[0:4] / counts
    squares = sums[4:8] - sums[0:4] * means
    products = sums[8:10] - sums[0:4:2] * means[1::2]
    return (
        Moments(means[0], means[1], squares[0], products[0], squares[1]),
        Moments(means[2], means[3], squares[2], products[1], squares[3]),
    )
