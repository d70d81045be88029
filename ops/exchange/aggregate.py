"""Binance's aggregate trades: consecutive fills of one taker order at one price are one aggTrade."""

import numpy as np
import numpy.typing as npt

TRADE = np.dtype(
    [("id", "<i8"), ("agg_id", "<i8"), ("price", "<i8"), ("size", "<i8"), ("time_us", "<i8"), ("buyer_is_maker", "u1")]
)
"""One trade: price in ticks, size in lots; rows of an aggregate carry the same `agg_id` and stand side by side."""

AGGREGATE = np.dtype(
    [("agg_id", "<i8"), ("price", "<i8"), ("size", "<i8"), ("first_id", "<i8"), ("last_id", "<i8"), ("time_us", "<i8"),
     ("buyer_is_maker", "u1")]
)  # fmt: skip

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]


def aggregate_ids(orders: Ints, prices: Ints, first_agg_id: int) -> Ints:
    """Aggregate id of each fill, counted from `first_agg_id`: a new one where the order or the price changes."""
    if not len(orders):
        return np.empty(0, np.int64)
    new = np.ones(len(orders), np.int64)
    new[1:] = (np.diff(orders) != 0) | (np.diff(prices) != 0)
    return np.cumsum(new) + (first_agg_id - 1)


def aggregates(trades: Rows) -> Rows:
    """AGGREGATE rows of whole TRADE rows, in order; the time is that of the first fill."""
    starts = np.flatnonzero(np.diff(trades["agg_id"], prepend=-1)) if len(trades) else np.empty(0, np.intp)
    out = np.empty(len(starts), AGGREGATE)
    if len(starts):
        first = trades[starts]
        for field in ("agg_id", "price", "time_us", "buyer_is_maker"):
            out[field] = first[field]
        out["size"] = np.add.reduceat(trades["size"], starts)
        out["first_id"] = first["id"]
        out["last_id"] = trades["id"][np.append(starts[1:], len(trades)) - 1]
    return out
