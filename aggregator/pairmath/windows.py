"""Full windows of series in bounded chunks, and differences of prices that lose no digits. Pure."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, Any]
#: Windows looked at in one go: bounds the memory of a long history.
_CHUNK_NUMBERS = 1_000_000


def apart(prices: Array, reference: Array, log: bool) -> Array:
    """How far prices are from a reference price: the difference, or that of the logarithms, exact to the last digits.

    `log(price) - log(reference)` would not do: it is 1e-15 off, which on cents at 100,000 is the eighth digit of a move.
    """
    difference = prices - reference
    return np.log1p(difference / reference) if log else difference


def level(prices: Array, log: bool) -> Array:
    """The prices, or their logarithms."""
    return np.log(prices) if log else prices


def returns(y: Array, log: bool) -> Array:
    """Returns along the last axis, one fewer than prices: y / y before - 1, or the logarithm of y / y before."""
    simple = np.diff(y) / y[..., :-1]
    return np.log1p(simple) if log else simple


def windows(window: int, new: int, *series: Array) -> Iterator[Any]:
    """(slice of the new rows, their windows of each series, a window a line); rows without a full window are left out."""
    full = max(0, min(new, len(series[0]) - window + 1))
    if not full:
        return
    views = [sliding_window_view(values, window)[-full:] for values in series]
    step = max(1, _CHUNK_NUMBERS // window)
    for start in range(0, full, step):
        stop = min(full, start + step)
        yield slice(new - full + start, new - full + stop), *[np.ascontiguousarray(view[start:stop]) for view in views]
