"""Correlations from stored closes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.closes import NO_BARS, align, closed_until_us, newest_lines
from common.codec import iso_us
from common.correlation import correlations, returns_of
from common.view import committed_view
from web.stores import Stores

#: Symbols times rows of one answer: about a second of reading.
MOST_CLOSES = 200_000


def correlation_matrix(stores: Stores, symbols: Sequence[str], timeframe: str, window: int) -> dict[str, Any]:
    """Correlations over the newest `window` rows; all null where there are fewer."""
    stale_us = stores.settings.stale_leg_s * 1_000_000
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        until_us = closed_until_us(committed_view(cursor, stores.settings).watermarks, symbols, stale_us)
        lines = newest_lines(cursor, timeframe, symbols, until_us, window + 1) if until_us is not None else {}
    found = align([lines.get(symbol, NO_BARS) for symbol in symbols], stale_us, window, complete=False)
    full = len(found.starts_us) == window
    closes = found.closes if full else np.full((len(symbols), 0), np.nan)
    return {
        "symbols": list(symbols), "timeframe": timeframe, "window": window,
        "as_of": iso_us(int(found.starts_us[-1])) if full else None, "since": iso_us(int(found.starts_us[0])) if full else None,
        "prices": _listed(correlations(closes)), "returns": _listed(correlations(returns_of(closes))),
        "carried": dict(zip(symbols, found.carried.sum(axis=1).tolist(), strict=True)),
    }  # fmt: skip


def _listed(matrix: np.ndarray[Any, Any]) -> list[list[float | None]]:
    return [[None if value != value else value for value in line] for line in matrix.tolist()]
