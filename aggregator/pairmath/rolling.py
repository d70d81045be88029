"""The statistics of many live pairs, a row of each at a time, at a cost that does not grow with the window. Pure.

Each slot holds the last window of one pair. Sums over a window are two parts added: a *tail*, the window's rows up to the slot's
last *turn*, and a *head*, the rows since. At a turn (every W - 2 rows) all tails are summed backwards from the newest row in one
go; each row then adds itself to the head. Nothing is ever subtracted, so what has left the window has left no trace.

Values are differences from the row of the turn, which every window until the next turn contains. So n (mean)^2 is at most n - 1
times the centred sum of squares, and the formula `sum of squares - n mean^2` loses at most log2(n) bits, whatever the prices do;
and where nothing moves, all differences are exactly zero. docs/decisions/0010 has the proof and the figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aggregator.pairmath import kalman
from aggregator.pairmath.batch import fill_from_filter
from aggregator.pairmath.lines import Moments, correlation, half_life, huber_line, ols_slope, return_correlation, tls_slope
from aggregator.pairmath.statistics import NAMES, Statistics, rounding
from aggregator.pairmath.windows import apart, level, returns
from common.pairmethod import PairMethod

Array = np.ndarray[Any, Any]
#: Sums a window has: of y, x and their returns; the squares of the four; y x of both; the spread, its square, change x before.
_SUMS = 13
_PRICES, _SPREAD, _CHANGE = slice(0, 10), slice(10, 12), 12
#: What differences are taken from: y, x and their returns, the spread; then the levels of y and x.
_REFERENCES = 7
#: Numbers of a turn, or of the robust line, worked on in one go.
_CHUNK_NUMBERS = 1_000_000


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
        self._tails = np.empty((0, self._turn, _SUMS))
        self._heads = np.empty((_SUMS, 0))
        self._references = np.empty((_REFERENCES, 0))
        self._filters = np.empty((kalman.STATE_SIZE, 0))
        self._described = np.empty((2, 0))  # mean and deviation of the last W spreads
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
            ("_rows", 1), ("_tails", 0), ("_heads", 1), ("_references", 1), ("_filters", 1), ("_described", 1),
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
        self._since[slot] = 0
        self._turn_over(np.array([slot]))
        self._due[slot] = 1 + slot % self._turn  # so that not all slots turn at one row

    def step(self, slots: Array, y: Array, x: Array, starts_us: Array) -> tuple[Statistics, Array | None]:
        """One row for each of the given slots (none twice): closes, and the starts of their bars.

        Answers a value a slot, in their order; and what `batch` answers of filter states, a line a slot.
        """
        with np.errstate(all="ignore"):  # what is undefined becomes NaN below
            due = slots[self._since[slots] >= self._due[slots]]
            for at in range(0, len(due), max(1, _CHUNK_NUMBERS // self.window)):
                self._turn_over(due[at : at + max(1, _CHUNK_NUMBERS // self.window)])
            return self._step(slots, y, x, starts_us)

    def _turn_over(self, slots: Array) -> None:
        """The rows move to the front, the last becomes what differences are taken from, tails are summed anew."""
        window, log = self.window, self.method.log
        at = self._since[slots][:, None] + np.arange(window)
        rows = self._rows[:, slots[:, None], at]
        self._rows[:, slots, :window] = rows
        y, x, spread = rows
        y_returns, x_returns = returns(y, log), returns(x, log)
        references = self._references[:, slots] = np.stack((
            y[:, -1], x[:, -1], y_returns[:, -1], x_returns[:, -1], spread[:, -1], level(y[:, -1], log), level(x[:, -1], log)
        ))  # fmt: skip
        inner = slice(1, window - 1)
        yd, xd, yr, xr, s = (
            values - reference[:, None] if series > 1 else apart(values, reference[:, None], log)
            for series, (values, reference) in enumerate(zip((y, x, y_returns, x_returns, spread), references[:5], strict=True))
        )
        terms = (yd, xd, yr, xr, yd * yd, xd * xd, yr * yr, xr * xr, yd * xd, yr * xr, s, s * s, s[:, :-1] * np.diff(s))
        tails = np.empty((len(slots), self._turn, _SUMS))
        for number, values in enumerate(terms):
            tails[:, :, number] = values[:, ::-1].cumsum(axis=1)[:, ::-1][:, inner]
        self._tails[slots] = tails
        self._heads[:, slots] = 0.0
        self._since[slots], self._due[slots] = 0, self._turn

    def _step(self, slots: Array, y: Array, x: Array, starts_us: Array) -> tuple[Statistics, Array | None]:
        method, window, log = self.method, self.window, self.method.log
        table = np.full((len(NAMES), len(slots)), np.nan)
        found = Statistics.of_table(table)
        since = self._since[slots] + 1
        at = since + (window - 1)
        self._since[slots] = since
        self._rows[0, slots, at], self._rows[1, slots, at] = y, x
        heads, references = self._heads[:, slots], self._references[:, slots]
        tails = self._tails[slots, since - 1].T
        before = self._rows[:, slots, at - 1]

        values = np.empty((4, len(slots)))
        values[0], values[1] = y - references[0], x - references[1]
        values[2], values[3] = (y - before[0]) / before[0], (x - before[1]) / before[1]
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

        slope = tls_slope(of) if method.estimator == "tls" else ols_slope(of)
        found.hedge_ratio[:] = slope
        found.intercept[:] = (references[5] + of.y_mean) - slope * (references[6] + of.x_mean)
        found.spread[:] = (values[0] - of.y_mean) - slope * (values[1] - of.x_mean)
        if method.estimator == "huber":
            self._fit_robustly(slots, since, found)
        states = self._follow(slots, since, y, x, starts_us, found) if method.is_recursive else None

        self._rows[2, slots, at] = found.spread
        self._describe(slots, since, y, before[2], heads, tails, references[4], found)
        self._heads[:, slots] = heads
        table[~np.isfinite(table)] = np.nan
        return found, states

    def _describe(
        self, slots: Array, since: Array, y: Array, before: Array, heads: Array, tails: Array, reference: Array, found: Statistics
    ) -> None:
        """Mean, deviation, z-score and half-life of the spread; `before` is the spread of the row before."""
        window, floor = self.window, rounding(y, self.method.log)
        spread, change, before_d = found.spread - reference, found.spread - before, before - reference
        lagged, lagged_squares = heads[_SPREAD] + tails[_SPREAD]  # rows t - W + 1 to t - 1: the spreads before
        heads[10] += spread
        heads[11] += spread * spread
        heads[12] += before_d * change
        mean = (lagged + spread) / window
        deviation = np.sqrt(np.maximum(lagged_squares + spread * spread - (lagged + spread) * mean, 0.0) / (window - 1))
        now = np.stack((reference + mean, deviation))
        told = self._described[:, slots] if self.method.prior else now
        self._described[:, slots] = now
        found.rolling_mean[:] = told[0]
        found.rolling_std[:] = np.where(told[1] > floor, told[1], np.nan)
        centre = spread - mean if told is now else found.spread - told[0]
        found.z_score[:] = centre / found.rolling_std
        changes = found.spread - self._rows[2, slots, since]  # of W - 1 bars, all together
        products, mean_before = heads[_CHANGE] + tails[_CHANGE], lagged / (window - 1)
        squares = lagged_squares - lagged * mean_before
        found.half_life[:] = half_life(products - mean_before * changes, squares, window - 1, floor)

    def _windows(self, slots: Array, since: Array) -> tuple[Array, Array]:
        """y and x of the slots' windows, a window a line."""
        at = since[:, None] + np.arange(self.window)
        return self._rows[0, slots[:, None], at], self._rows[1, slots[:, None], at]

    def _fit_robustly(self, slots: Array, since: Array, found: Statistics) -> None:
        """As `batch` does it, from all rows of the window."""
        log, step = self.method.log, max(1, _CHUNK_NUMBERS // self.window)
        for start in range(0, len(slots), step):
            rows = slice(start, start + step)
            y, x = self._windows(slots[rows], since[rows])
            y_last, x_last = y[:, -1], x[:, -1]
            slope, offset = huber_line(apart(y, y_last[:, None], log), apart(x, x_last[:, None], log))
            found.hedge_ratio[rows], found.spread[rows] = slope, -offset
            found.intercept[rows] = (level(y_last, log) + offset) - slope * level(x_last, log)

    def _follow(self, slots: Array, since: Array, y: Array, x: Array, starts_us: Array, found: Statistics) -> Array:
        """The filter's line in the place of the least squares line; answers the states."""
        undefined = np.isnan(found.hedge_ratio)
        days = starts_us // kalman.DAY_US
        states = self._filters[:, slots]
        goes_on = (days == self._days[slots]) & ~np.isnan(states[0])
        before = kalman.FilterState(*states)
        log = self.method.log
        after, innovation = kalman.followed(before, apart(y, before.y0, log), apart(x, before.x0, log), self.window)
        states = np.stack(after)
        errors, variances = innovation
        begins = np.flatnonzero(~goes_on)
        if len(begins):
            self._start(slots, since, begins, states, errors, variances)
        self._filters[:, slots], self._days[slots] = states, days
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
