"""Correlations of many series at once. Pure; two passes, on differences from the last value."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def correlations(values: Array) -> Array:
    """Pearson's correlation of each two of n series (n x m float64): n x n, 1 on the diagonal.

    NaN where a series does not move, misses a value (NaN), or has fewer than three.
    """
    count, length = values.shape
    if length < 3:
        return np.full((count, count), np.nan)
    apart = values - values[:, -1:]
    centred = apart - (apart.sum(axis=1) / length)[:, None]
    norms = np.sqrt((centred * centred).sum(axis=1))
    moves = apart.max(axis=1) > apart.min(axis=1)
    unit = np.divide(centred, norms[:, None], out=np.full_like(centred, np.nan), where=moves[:, None])
    found: Array = np.clip(unit @ unit.T, -1.0, 1.0)
    found[np.flatnonzero(moves), np.flatnonzero(moves)] = 1.0
    return found


def returns_of(closes: Array) -> Array:
    """Simple returns along the rows: one fewer than closes."""
    changes: Array = np.diff(closes, axis=1) / closes[:, :-1]
    return changes
