"""The rows of many entries as numpy columns, judged: what both readers of the stream work on.

The fast path reads canonical rows eight bytes at a time; a batch it can't read goes row by row through `common.codec` and
`common.judge`, with the same result. Numbers stay exact: a decimal is a whole number and a count of fraction digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.codec import encode_row, read_rows
from common.errors import InvalidTrade
from common.fastrows import Unreadable, read_fast
from common.judge import AHEAD_US, Limits, judge
from common.streams import Entry
from common.trades import Trade

Array = np.ndarray[Any, Any]
#: Below this many rows plain Python is cheaper than numpy's calls.
FEW_ROWS = 40


@dataclass(slots=True)
class Columns:
    """n trades in the order of the stream; `symbol` indexes `symbols`. Decimals: `price / 10**price_scale`, exactly."""

    symbols: list[str]
    symbol: Array  # intp
    trade_id: Array  # int64
    event_us: Array  # int64, microseconds since 1970
    price: Array  # int64, or object (Python ints) where 18 digits don't do
    price_scale: Array  # int64
    size: Array  # as price
    size_scale: Array
    buy: Array  # bool: the taker bought
    seq: Array  # int64, 0 where the row has none
    entry: Array  # intp: index of the row's entry

    def __len__(self) -> int:
        return len(self.trade_id)


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that no table takes, and why."""

    entry: int  # index of its entry
    row_number: int  # from 0, within the entry; 0 for an entry that has no rows to read
    field: str
    reason: str
    payload: str


@dataclass(slots=True)
class Batch:
    """What a reader does with some entries: the good rows as columns and as CSV for COPY, and the dead ones."""

    columns: Columns
    rows: bytes
    dead: list[DeadRow]


def read_entries(entries: Sequence[Entry], limits: Limits) -> Batch:
    """Judge the rows of these entries, each by its own entry's time."""
    rows = b"".join([entry.rows for entry in entries])
    counts = [entry.rows.count(b"\n") for entry in entries]
    if sum(counts) >= FEW_ROWS and all(entry.rows.endswith(b"\n") if entry.rows else not entry.fault for entry in entries):
        try:
            columns = read_fast_columns(rows, counts)
            if fast_verdict(columns, entries, limits):
                return Batch(columns, rows, [])
        except Unreadable:
            pass
    return _read_slowly(entries, limits)


def read_fast_columns(rows: bytes, counts: Sequence[int]) -> Columns:
    """Canonical rows as columns.

    Raises:
        Unreadable: some row is not canonical, or has a number of more than 18 digits.
    """
    entry = np.repeat(np.arange(len(counts)), counts)
    fields = read_fast(rows, len(entry))
    return Columns(*fields, entry=entry)


def fast_verdict(columns: Columns, entries: Sequence[Entry], limits: Limits) -> bool:
    """True if the judge accepts every row; the form of symbols, sides and decimals was checked while reading."""
    if not len(columns):
        return True
    first_ms, last_ms = min(entry.id.ms for entry in entries), max(entry.id.ms for entry in entries)
    newest, oldest = int(columns.event_us.max()), int(columns.event_us.min())
    if newest <= first_ms * 1000 + AHEAD_US and oldest >= limits.oldest_us(last_ms):
        return bool((columns.price > 0).all() and (columns.size > 0).all())
    return False


def to_columns(trades: Sequence[Trade], entry: Sequence[int]) -> Columns:
    """Judged trades as columns; `entry` gives each one's entry."""
    codes: dict[str, int] = {}
    symbol = np.array([codes.setdefault(trade.symbol, len(codes)) for trade in trades], dtype=np.intp)
    price, price_scale = _mantissas([trade.price for trade in trades])
    size, size_scale = _mantissas([trade.size for trade in trades])
    return Columns(
        symbols=list(codes),
        symbol=symbol,
        trade_id=np.array([trade.trade_id for trade in trades], dtype=np.int64),
        event_us=np.array([trade.event_us for trade in trades], dtype=np.int64),
        price=price,
        price_scale=price_scale,
        size=size,
        size_scale=size_scale,
        buy=np.array([trade.side == "b" for trade in trades], dtype=bool),
        seq=np.array([trade.seq or 0 for trade in trades], dtype=np.int64),
        entry=np.array(entry, dtype=np.intp),
    )


def _read_slowly(entries: Sequence[Entry], limits: Limits) -> Batch:
    good: list[Trade] = []
    of_entry: list[int] = []
    dead: list[DeadRow] = []
    for index, entry in enumerate(entries):
        if entry.fault:
            dead.append(DeadRow(index, 0, "entry", *entry.fault))
        for number, text, found in read_rows(entry.rows.decode("utf-8", "backslashreplace")):
            try:
                if isinstance(found, InvalidTrade):
                    raise found
                good.append(judge(found, limits, entry.id.ms))
                of_entry.append(index)
            except InvalidTrade as exc:
                dead.append(DeadRow(index, number, exc.field, str(exc), text.replace("\x00", "\\x00")))
    rows = "".join([encode_row(trade) for trade in good]).encode()
    return Batch(to_columns(good, of_entry), rows, dead)


def _mantissas(texts: Sequence[str]) -> tuple[Array, Array]:
    """Whole numbers and fraction digits; Python ints where one has more than 18 digits."""
    parts = [text.partition(".") for text in texts]
    numbers = [int(whole + fraction) for whole, _, fraction in parts]
    wide = any(len(text) > 18 for text in texts)
    scales = np.array([len(fraction) for _, _, fraction in parts], dtype=np.int64)
    return np.array(numbers, dtype=object if wide else np.int64), scales
