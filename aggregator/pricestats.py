"""Statistics of one symbol's bars, each row from the last W bars up to its own time. Pure; NaN where undefined.

With p the close before and c the close, W the window in bars:

    returns              (c - p) / p                              log_return           ln(c / p)
    volatility           deviation (ddof 1) of the last W returns realised_volatility  root of the sum of W squared log returns
    volume_ma            mean of W volumes                        price_change_pct     (close - open) / open, in percent
    high_low_range       high - low                               vwap                 quote volume / volume, sums of W bars
    taker_imbalance      (2 taker buys - volume) / volume, sums of W bars
    atr                  mean of W true ranges: max(high, p) - min(low, p)
    drawdown             (c - highest of W closes) / that; 0 or below

Everything is computed anew from the window, deviations in two passes: nothing that has left the window is remembered, which
running sums and Wilder's recursive ATR would do. A deviation of what does not move is NaN; an amount that is zero is zero.
Whoever is not known to have bought counts as a seller, so that an imbalance without a single buy is NaN: sides may be unknown.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]
#: What a bar brings, the first axis of every table of bars here; `gap` is 1 where the bar has status gap, else 0.
FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "gap")
#: What a row holds, in the order of the statistics' first axis.
NAMES = (
    "returns", "log_return", "volatility", "realised_volatility", "volume_ma", "price_change_pct", "high_low_range", "vwap",
    "taker_imbalance", "atr", "drawdown",
)  # fmt: skip
#: What is kept of each bar in a window; the sums first, so that one pass adds them all up.
_SUMMED = ("volume", "quote_volume", "taker_buy_volume", "true_range", "log_return_squared")
_KEPT = (*_SUMMED, "close", "return", "gap")
#: Of `gap`: 1 where the bar has one; this where only the bar before it has, whose close it uses: so it does not spread further.
_GAP_BEFORE = 0.5
_CLOSE, _RETURN, _GAP = (_KEPT.index(name) for name in ("close", "return", "gap"))
#: Numbers of one field looked at in one go: bounds the memory of a long history.
_CHUNK_NUMBERS = 250_000


class Windows:
    """The last W bars of many series, a slot each; what a series does not have yet is NaN."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._kept = np.full((0, len(_KEPT), window), np.nan)  # a series' windows lie together: they are copied as one
        self._moved = np.empty((0, len(_KEPT), window))

    def __len__(self) -> int:
        return len(self._kept)

    def add_slots(self, count: int) -> range:
        """Slots for more series; answers their numbers."""
        self._kept = np.concatenate((self._kept, np.full((count, *self._kept.shape[1:]), np.nan)))
        return range(len(self) - count, len(self))

    def begin(self, slot: int, bars: Array) -> None:
        """Forget a series, and remember the last W of these bars (fields x bars, oldest first) instead."""
        self._kept[slot] = np.nan
        bars = bars[:, -self.window :]
        if bars.shape[1]:
            kept, _, _ = _kept_of(bars, np.concatenate(([np.nan], bars[3, :-1])), np.concatenate(([np.nan], bars[7, :-1])))
            self._kept[slot, :, -kept.shape[1] :] = kept

    def follow(self, slots: Array, bars: Array) -> tuple[Array, Array]:
        """Statistics (names x bars) of new bars (fields x bars), and whether a bar that they used has a gap.

        `slots` names each bar's series; the bars of a series stand together, oldest first.
        """
        step = max(1, _CHUNK_NUMBERS // self.window)
        parts = [self._step(slots[at : at + step], bars[:, at : at + step]) for at in range(0, len(slots), step)]
        if len(parts) == 1:
            return parts[0]
        values, gaps = zip(*parts, strict=True)
        return np.concatenate(values, axis=1), np.concatenate(gaps)

    def _step(self, slots: Array, bars: Array) -> tuple[Array, Array]:
        first = np.concatenate(([True], slots[1:] != slots[:-1]))
        before = np.where(first, self._kept[slots, _CLOSE, -1], np.roll(bars[3], 1))
        gap_before = np.where(first, self._kept[slots, _GAP, -1] == 1, np.roll(bars[7], 1))
        kept, returns, logs = _kept_of(bars, before, gap_before)
        return _statistics(bars, returns, logs, self._move(slots, np.flatnonzero(first), kept))

    def _move(self, slots: Array, first: Array, kept: Array) -> Array:
        """The W bars up to each new one, bars x kept x W; the windows move on."""
        if len(first) == len(slots):
            return self._move_each(slots, kept)
        counts = np.diff(np.append(first, len(slots)))
        if len(first) > counts.max():
            return self._move_in_turns(slots, np.arange(len(slots)) - np.repeat(first, counts), kept)
        found = []
        for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(slots)], strict=True):
            slot = int(slots[begin])
            line = np.concatenate((self._kept[slot], kept[:, begin:end]), axis=1)
            self._kept[slot] = line[:, -self.window :]
            found.append(sliding_window_view(line[:, 1:], self.window, axis=1).transpose(1, 0, 2))
        return np.ascontiguousarray(np.concatenate(found))

    def _move_in_turns(self, slots: Array, turn: Array, kept: Array) -> Array:
        """A few new bars of each of many series: the first of each, then the second; `turn` says which a bar is."""
        found = np.empty((len(slots), *self._kept.shape[1:]))
        for now in range(int(turn.max()) + 1):
            rows = np.flatnonzero(turn == now)
            found[rows] = self._move_each(slots[rows], kept[:, rows])
        return found

    def _move_each(self, slots: Array, kept: Array) -> Array:
        """One new bar a series. Fresh memory for each step would cost more than all arithmetic: page faults."""
        count = len(slots)
        if len(self._moved) < count:
            self._moved = np.empty((len(self), *self._kept.shape[1:]))
        moved = self._moved[:count]
        neighbours = bool((slots[1:] - slots[:-1] == 1).all())
        chosen = slice(int(slots[0]), int(slots[0]) + count) if neighbours else slots
        moved[:, :, :-1] = self._kept[chosen, :, 1:]
        moved[:, :, -1] = kept.T
        self._kept[chosen] = moved
        return moved


def statistics_of(bars: Array, context: Array, window: int) -> tuple[Array, Array]:
    """Statistics (names x bars) and gaps of one series' bars (fields x bars, oldest first).

    `context` are the bars before, of which the last W count: the same rows as a live `Windows` gives.
    """
    windows = Windows(window)
    windows.begin(windows.add_slots(1)[0], context)
    return windows.follow(np.zeros(bars.shape[1], dtype=np.intp), bars)


def _kept_of(bars: Array, before: Array, gap_before: Array) -> tuple[Array, Array, Array]:
    """What is kept of bars, their returns and their log returns, given the close and the gap of the bar before each."""
    _, highs, lows, closes, volumes, quotes, buys, gaps = bars
    returns = (closes - before) / before
    logs = np.where(np.abs(returns) > 0.5, np.log(closes / before), np.log1p(np.maximum(returns, -0.75)))
    true_ranges = np.maximum(highs, before) - np.minimum(lows, before)
    kept = np.array([volumes, quotes, buys, true_ranges, logs * logs, closes, returns, np.fmax(gaps, gap_before * _GAP_BEFORE)])
    return kept, returns, logs


def _statistics(bars: Array, returns: Array, logs: Array, windows: Array) -> tuple[Array, Array]:
    """Rows of bars, from their windows (bars x kept x W)."""
    opens, highs, lows, closes = bars[:4]
    window = windows.shape[2]
    volume, quote, bought, ranges, squares = windows[:, : len(_SUMMED)].sum(axis=2).T
    highest = windows[:, _CLOSE].max(axis=1)
    bought[bought == 0], squares[squares == 0] = np.nan, np.nan
    rows = np.array([
        returns, logs, _deviations(windows[:, _RETURN]), np.sqrt(squares), volume / window, (closes - opens) / opens * 100,
        highs - lows, quote / volume, (2 * bought - volume) / volume, ranges / window, (closes - highest) / highest,
    ])  # fmt: skip
    gaps: Array = np.fmax.reduce(windows[:, _GAP], axis=1) > 0
    return rows, gaps


def _deviations(returns: Array) -> Array:
    apart = returns - returns[:, -1:]
    apart -= (apart.sum(axis=1) / apart.shape[1])[:, None]
    variance = (apart * apart).sum(axis=1) / (apart.shape[1] - 1)
    return np.sqrt(np.where(returns.max(axis=1) > returns.min(axis=1), variance, np.nan))
