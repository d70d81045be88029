"""Bars as columns, and the one operation on them: rows of the same bar collapse into one.

A bar is a monoid (first, max, min, last, sums), so an open bar and the bars of new trades are the same thing, and a higher
timeframe is the collapse of a lower one. Prices and sizes are whole numbers at their symbol's scale: sums are exact.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: Whole numbers up to here are safe in int64 sums of floats' accuracy; beyond it columns hold Python ints.
SAFE = float(2**62)
#: Whole numbers below it, over powers of ten up to this one, divide as exactly as decimals are read.
_EXACT, _EXACT_SCALE = 2**53, 22
_FLOAT_POWERS = np.array([float(10**scale) for scale in range(_EXACT_SCALE + 1)])


@dataclass(slots=True)
class Bars:
    """n rows over `[start_us, start_us + length)`; `first_*` and `last_*` place open and close in the order (us, seq, id)."""

    symbol: Array  # intp, the core's symbol code
    start_us: Array
    open: Array  # whole numbers at the symbol's price scale: int64, or object (Python ints)
    high: Array
    low: Array
    close: Array
    volume: Array  # at the size scale
    taker_buy: Array  # at the size scale
    quote: Array  # at price scale + size scale
    taker_quote: Array  # likewise
    count: Array
    first_us: Array
    first_seq: Array
    first_id: Array
    last_us: Array
    last_seq: Array
    last_id: Array

    def __len__(self) -> int:
        return len(self.symbol)

    def take(self, rows: Array) -> "Bars":
        """The rows of an index or a mask."""
        return Bars(*[column[rows] for column in self.columns()])

    def columns(self) -> list[Array]:
        """All columns in their order."""
        return [getattr(self, name) for name in COLUMN_NAMES]


COLUMN_NAMES = tuple(field.name for field in fields(Bars))
_POWERS = np.array([10**power for power in range(19)], dtype=np.int64)
#: Columns that are rescaled when a symbol turns out to have finer prices or sizes.
PRICES = ("open", "high", "low", "close")
SIZES = ("volume", "taker_buy")
PRODUCTS = ("quote", "taker_quote")


def no_bars() -> Bars:
    """A table without rows."""
    return Bars(*[np.zeros(0, dtype=np.int64) for _ in COLUMN_NAMES])


def bars_of_trades(
    symbol: Array, event_us: Array, seq: Array, trade_id: Array, price: Array, size: Array, buy: Array, length_us: int
) -> Bars:
    """Bars of trades sorted by (symbol, event_us, seq, trade_id); prices and sizes at their symbol's scale."""
    if not len(symbol):
        return no_bars()
    bucket = event_us - event_us % length_us
    first = np.flatnonzero(np.concatenate(([True], (symbol[1:] != symbol[:-1]) | (bucket[1:] != bucket[:-1]))))
    last = np.append(first[1:], len(symbol)) - 1
    price, size, quote = _exact_amounts(price, size, first)
    return Bars(
        symbol=symbol[first], start_us=bucket[first],
        open=price[first], high=np.maximum.reduceat(price, first), low=np.minimum.reduceat(price, first), close=price[last],
        volume=np.add.reduceat(size, first), taker_buy=np.add.reduceat(size * buy, first), quote=np.add.reduceat(quote, first),
        taker_quote=np.add.reduceat(quote * buy, first),
        count=last - first + 1,
        first_us=event_us[first], first_seq=seq[first], first_id=trade_id[first],
        last_us=event_us[last], last_seq=seq[last], last_id=trade_id[last],
    )  # fmt: skip


def collapse(*tables: Bars, length_us: int) -> Bars:
    """One row for each (symbol, bar of that length), whatever the order of the rows; sorted by (symbol, start_us)."""
    rows = concatenate(*tables)
    if not len(rows):
        return rows
    rows.start_us = rows.start_us - rows.start_us % length_us
    rows = rows.take(np.lexsort((rows.first_id, rows.first_seq, rows.first_us, rows.start_us, rows.symbol)))
    changes = (rows.symbol[1:] != rows.symbol[:-1]) | (rows.start_us[1:] != rows.start_us[:-1])
    if changes.all():
        return rows
    first = np.flatnonzero(np.concatenate(([True], changes)))
    closing = np.lexsort((rows.last_id, rows.last_seq, rows.last_us, rows.start_us, rows.symbol))
    last = closing[np.append(first[1:], len(rows)) - 1]
    volume, quote = _safe_sum(rows.volume, first), _safe_sum(rows.quote, first)
    return Bars(
        symbol=rows.symbol[first], start_us=rows.start_us[first],
        open=rows.open[first], high=np.maximum.reduceat(rows.high, first), low=np.minimum.reduceat(rows.low, first),
        close=rows.close[last],
        volume=volume, taker_buy=_safe_sum(rows.taker_buy, first), quote=quote,
        taker_quote=_safe_sum(rows.taker_quote, first), count=np.add.reduceat(rows.count, first),
        first_us=rows.first_us[first], first_seq=rows.first_seq[first], first_id=rows.first_id[first],
        last_us=rows.last_us[last], last_seq=rows.last_seq[last], last_id=rows.last_id[last],
    )  # fmt: skip


def concatenate(*tables: Bars) -> Bars:
    """All rows of the tables, one table after the other."""
    filled = [table for table in tables if len(table)]
    if len(filled) == 1:
        return Bars(*filled[0].columns())
    if not filled:
        return no_bars()
    return Bars(*[np.concatenate(columns) for columns in zip(*[table.columns() for table in filled], strict=True)])


def times_powers(values: Array, powers: Array) -> Array:
    """`values * 10**powers`, exactly: as Python ints where 63 bits might not do."""
    if not len(values) or not powers.any():
        return values
    largest = float(np.abs(values.astype(np.float64)).max()) * 10.0 ** float(powers.max())
    if values.dtype == object or largest >= SAFE or int(powers.max()) >= len(_POWERS):  # zeros are never large: nobody bought yet
        wide: Array = values.astype(object) * np.array([10 ** int(power) for power in powers], dtype=object)
        return wide
    product: Array = values * _POWERS[powers]
    return product


def floats(values: Array, scales: Array) -> Array:
    """`values / 10**scales`, rounded once: as near to the decimal as reading its text gives."""
    if _are_exact(values) and int(scales.max(initial=0)) <= _EXACT_SCALE:
        return np.asarray(values / _FLOAT_POWERS[scales])
    return np.array([int(value) / 10 ** int(scale) for value, scale in zip(values.tolist(), scales.tolist(), strict=True)])


def quotients(values: Array, divisors: Array) -> Array:
    """Whole numbers by whole numbers, rounded once."""
    if _are_exact(values) and _are_exact(divisors):
        return np.asarray(values / divisors)
    return np.array([int(value) / int(divisor) for value, divisor in zip(values.tolist(), divisors.tolist(), strict=True)])


def _are_exact(values: Array) -> bool:
    return values.dtype != object and int(np.abs(values).max(initial=0)) < _EXACT


def _exact_amounts(price: Array, size: Array, first: Array) -> tuple[Array, Array, Array]:
    """Prices, sizes and their products in a type in which every group's sums are exact."""
    if price.dtype != object and size.dtype != object:
        sizes = np.add.reduceat(size.astype(np.float64), first)
        quotes = np.add.reduceat(price.astype(np.float64) * size.astype(np.float64), first)
        if float(sizes.max()) < SAFE and float(quotes.max()) < SAFE:
            return price, size, price * size
    price, size = price.astype(object), size.astype(object)
    return price, size, price * size


def _safe_sum(values: Array, first: Array) -> Array:
    if values.dtype != object and float(np.add.reduceat(values.astype(np.float64), first).max()) >= SAFE:
        values = values.astype(object)
    total: Array = np.add.reduceat(values, first)
    return total
