"""CSV files of trades: Binance's archive layouts on a short path, any other with a header by its columns' names."""

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

from common.codec import parse_iso_us
from common.errors import InvalidTrade, MalformedMessage
from common.judge import Limits, judge
from common.trades import Trade
from producer.venues.archive import (
    AGG_TRADES,
    TRADES,
    UNNAMED,
    FileName,
    Occurrences,
    Reader,
    RowReject,
    Rows,
    add_tick,
    full_symbol,
)  # fmt: skip
from producer.venues.binance import US_FROM
from producer.venues.fastcsv import FastRows
from producer.venues.fields import MAKER_SIDES, decimal_text, maker_side, stamp_us, taker_side, whole_id

_COLUMN_NAMES = {
    "symbol": ("symbol", "instrument", "pair", "ticker"),
    "agg_id": ("aggtradeid", "aggid"),
    "id": ("tradeid", "id"),
    "ts": ("ts", "timestamp", "time", "timems", "timeus", "transacttime", "tradetime", "datetime"),
    "price": ("price",),
    "size": ("size", "qty", "quantity", "amount"),
    "side": ("side", "takerside"),
    "maker": ("isbuyermaker", "buyermaker", "wasthebuyerthemaker"),
}
_NUMBER = re.compile(r'"?[0-9]+"?', re.ASCII)
_FLAG = re.compile(r'"?(?:true|false)"?', re.ASCII | re.IGNORECASE)


class Layout(NamedTuple):
    """Where a Binance archive's columns are."""

    width: int
    stamp: int
    maker: int
    kind: str
    futures: bool


#: Without a header the number of columns and the place of the maker flag tell them apart.
LAYOUTS = (
    Layout(8, 5, 6, AGG_TRADES, False),
    Layout(7, 4, 5, TRADES, False),
    Layout(7, 5, 6, AGG_TRADES, True),
    Layout(6, 4, 5, TRADES, True),
)


def csv_reader(first_line: str, name: FileName, symbol: str | None, limits: Limits) -> Reader:
    """The reader for a file that begins with this line.

    Raises:
        MalformedMessage: no known layout, or the symbol is not known.
    """
    delimiter = next((mark for mark in ",;\t" if mark in first_line), ",")
    cells = [cell.strip() for cell in next(csv.reader([first_line], delimiter=delimiter))]
    if not _NUMBER.fullmatch(cells[0]):
        return _by_header(cells, delimiter, name, symbol, limits)
    for layout in LAYOUTS:
        flags = [at for at, cell in enumerate(cells) if _FLAG.fullmatch(cell)]
        if len(cells) == layout.width and flags and flags[0] == layout.maker and delimiter == ",":
            own = full_symbol(symbol or name.symbol, layout.futures if name.futures is None else name.futures)
            return _BinanceReader(layout, own, limits)
    raise MalformedMessage(
        f"a CSV without a header must be a Binance archive of trades or aggTrades; this one begins with {first_line[:120]!r}"
    )


class _BinanceReader:
    """A Binance archive: id, price, quantity first; then stamp and maker flag where the layout says."""

    def __init__(self, layout: Layout, symbol: str, limits: Limits) -> None:
        self._layout, self._symbol, self._limits = layout, symbol, limits
        self._fast = FastRows(symbol, layout.width, layout.stamp, layout.maker, limits)

    def read(self, lines: Sequence[str], first_number: int, entry_ms: int) -> Rows:
        encoded = self._fast.encode(lines, entry_ms)
        if encoded is not None:
            return Rows(encoded=encoded, encoded_of=(self._symbol, self._layout.kind))
        return self.read_slowly(lines, first_number, entry_ms)

    def read_slowly(self, lines: Sequence[str], first_number: int, entry_ms: int) -> Rows:
        """Row by row, for blocks with something unusual in them."""
        width, at_stamp, at_maker, kind, _ = self._layout
        symbol, limits, trades, rows = self._symbol, self._limits, [], Rows()
        for number, line in enumerate(lines, first_number):
            try:
                cells = line.split(",")
                if '"' in line:
                    cells = next(csv.reader([line]))
                side = MAKER_SIDES.get(cells[at_maker]) if len(cells) == width else None
                stamp = cells[at_stamp] if side else ""
                if stamp.isdecimal() and stamp.isascii() and len(stamp) < 19:
                    event_us = int(stamp)
                    event_us = event_us if event_us >= US_FROM else event_us * 1000
                    trade = Trade(symbol, whole_id(cells[0]), event_us, cells[1], cells[2], side or "")
                    trades.append(judge(trade, limits, entry_ms))
                elif line.strip():
                    raise _fault(cells, self._layout)
            except (InvalidTrade, csv.Error) as exc:
                rows.rejects.append(_reject(number, line, exc))
        if trades:
            rows.trades[kind] = trades
        return rows


def _fault(cells: list[str], layout: Layout) -> InvalidTrade:
    """What is wrong with a row that the short path did not take."""
    if len(cells) != layout.width:
        return InvalidTrade("row", ",".join(cells), f"must have {layout.width} columns")
    if cells[layout.maker] not in MAKER_SIDES:
        return InvalidTrade("side", cells[layout.maker], "must be True or False: was the buyer the maker")
    return InvalidTrade("timestamp", cells[layout.stamp], "must be whole milliseconds or microseconds since 1970")


def _by_header(cells: list[str], delimiter: str, name: FileName, symbol: str | None, limits: Limits) -> Reader:
    names = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    where = {
        column: next(at for at, found in enumerate(names) if found in wanted)
        for column, wanted in _COLUMN_NAMES.items()
        if any(found in wanted for found in names)
    }
    missing = [column for column in ("ts", "price", "size") if column not in where]
    if missing:
        raise MalformedMessage(f"the header has no column for {', '.join(missing)}; it is {', '.join(cells)[:200]}")
    official = "maker" in where and ("transacttime" in names or "quoteqty" in names)  # spot archives have no header
    futures = official if name.futures is None else name.futures
    if "symbol" not in where:
        return _HeaderReader(where, len(cells), delimiter, full_symbol(symbol or name.symbol, futures), name.kind, limits)
    return _HeaderReader(where, len(cells), delimiter, None, name.kind, limits)


class _HeaderReader:
    """A CSV whose header names its columns. Rows without an id column get ids from their content."""

    def __init__(
        self, where: dict[str, int], width: int, delimiter: str, symbol: str | None, kind: str | None, limits: Limits
    ) -> None:
        self._where, self._width, self._delimiter, self._symbol, self._limits = where, width, delimiter, symbol, limits
        self._id_at = where.get("agg_id", where.get("id"))
        self._kind = None if self._id_at is None else AGG_TRADES if "agg_id" in where else kind or UNNAMED
        self._occurrences = Occurrences()
        self._header_read = False
        self._position = 0

    def read(self, lines: Sequence[str], first_number: int, entry_ms: int) -> Rows:
        rows = Rows()
        for number, line in enumerate(lines, first_number):
            if not self._header_read or not line.strip():
                self._header_read = self._header_read or bool(line.strip())
                continue
            try:
                cells = next(csv.reader([line], delimiter=self._delimiter)) if '"' in line else line.split(self._delimiter)
                add_tick(rows, judge(self._trade(cells), self._limits, entry_ms), self._kind, self._occurrences)
            except (InvalidTrade, csv.Error) as exc:
                rows.rejects.append(_reject(number, line, exc))
            self._position += 1
        return rows

    def _trade(self, cells: list[str]) -> Trade:
        if len(cells) != self._width:
            raise InvalidTrade("row", self._delimiter.join(cells), f"must have {self._width} columns")
        where = self._where
        side = maker_side(cells[where["maker"]].strip()) if "maker" in where else ""
        if "side" in where:
            side = taker_side(cells[where["side"]].strip())
        return Trade(
            self._symbol or cells[where["symbol"]].strip(),
            0 if self._id_at is None else whole_id(cells[self._id_at].strip()),
            _stamp(cells[where["ts"]].strip()),
            decimal_text("price", cells[where["price"]].strip()),
            decimal_text("size", cells[where["size"]].strip()),
            side,
            self._position if self._id_at is None else None,
        )


def _stamp(text: str) -> int:
    """Also `2024-01-01 00:00:00+00:00`, as databases and data frames write it."""
    return stamp_us(text) if text[:1].isdigit() and "-" not in text else parse_iso_us(text)


def _reject(number: int, line: str, error: InvalidTrade | csv.Error) -> RowReject:
    return RowReject(number, line, error if isinstance(error, InvalidTrade) else MalformedMessage(f"not a CSV row: {error}"))
