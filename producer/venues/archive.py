"""Files of trades, a block of lines at a time: which format they are, and their trades. No file is opened here.

Formats: Binance archive CSV (trades or aggTrades, spot or USD-M futures, with a header or without), CSV of ticks with
a header, and a JSON value a line: ticks `{"symbol", "ts", "price", "size"}`, Binance stream messages, REST rows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from common.errors import InvalidTrade, MalformedMessage
from common.judge import content_id
from common.sources import CONTENT
from common.trades import Trade

#: Ticks whose ids come without a word on their kind: they adopt what the symbol has, else this.
UNNAMED = "api.trade"
TRADES, AGG_TRADES = "binance.trade", "binance.aggTrade"
FUTURES = "BINANCEUM:"
_NAME = re.compile(r"(?:^|_)([A-Z0-9]{2,30})[-_](aggTrades|trades)(?=[-_.]|$)")
_FUTURES_NAME = re.compile(r"(?:^|[-_./])(?:um|usdm|futures)(?=[-_./])", re.ASCII)
_SPOT_NAME = re.compile(r"(?:^|[-_./])spot(?=[-_./])", re.ASCII)
_COIN_MARGINED = re.compile(r"USD_(?:PERP|\d{6})", re.ASCII)


class FileName(NamedTuple):
    """What a file's name says of its content."""

    symbol: str | None
    kind: str | None  # TRADES, AGG_TRADES or None
    futures: bool | None  # None: it does not say


class RowReject(NamedTuple):
    """A row that is no trade, and why."""

    number: int  # of its line, from 1
    text: str
    error: InvalidTrade | MalformedMessage


@dataclass(slots=True)
class Rows:
    """The trades of a block of lines by the kind of their ids (`UNNAMED`: to be adopted), and the rest.

    Where all lines of a block are good and of one symbol, a reader may give them `encoded`, as the rows of an entry.
    """

    trades: dict[str, list[Trade]] = field(default_factory=dict)
    encoded: list[str] = field(default_factory=list)
    encoded_of: tuple[str, str] = "", ""  # symbol and kind
    rejects: list[RowReject] = field(default_factory=list)


class Reader(Protocol):
    """Reads one file's lines, in order."""

    def read(self, lines: Sequence[str], first_number: int, entry_ms: int) -> Rows:
        """The judged trades of the next lines; `first_number` is the first one's, from 1."""


def parse_file_name(name: str) -> FileName:
    """Symbol, kind and market in a name such as Binance's own.

    >>> parse_file_name("BTCUSDT-aggTrades-2024-01-01.zip")
    FileName(symbol='BTCUSDT', kind='binance.aggTrade', futures=None)
    >>> parse_file_name("binance_um_ETHUSDT_trades_2024-01.csv").futures
    True
    """
    found = _NAME.search(name)
    futures = True if _FUTURES_NAME.search(name) else False if _SPOT_NAME.search(name) else None
    if not found:
        return FileName(None, None, futures)
    return FileName(found[1], AGG_TRADES if found[2] == "aggTrades" else TRADES, futures)


def full_symbol(symbol: str | None, futures: bool) -> str:
    """The symbol as GEMS names it.

    Raises:
        MalformedMessage: not known, or of a contract whose sizes are not in the base asset.
    """
    if not symbol:
        raise MalformedMessage("neither the rows nor the file's name say which symbol they are of; give it (symbol=BTCUSDT)")
    if _COIN_MARGINED.search(symbol):
        raise MalformedMessage(f"{symbol} is a COIN-M contract: its sizes are contracts, not amounts of the base asset")
    return FUTURES + symbol if futures and ":" not in symbol else symbol


class Occurrences:
    """Makes ids for ticks that have none; equal ticks of one file are told apart by how often they were seen before.

    Memory is bounded: a tick is forgotten after `most` to twice as many other ones, so that an equal tick so far behind
    gets the same id and counts once.
    """

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def name(self, trade: Trade) -> Trade:
        """The (judged) trade with its id."""
        symbol, _, event_us, price, size, side, seq = trade
        first = content_id(symbol, event_us, price, size, 0)
        seen = self._young.get(first) or self._old.get(first) or 0
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[first] = seen + 1
        trade_id = content_id(symbol, event_us, price, size, seen) if seen else first
        return Trade(symbol, trade_id, event_us, price, size, side, seq)


def add_tick(rows: Rows, trade: Trade, kind: str | None, occurrences: Occurrences) -> None:
    """A judged trade into its kind's list; None: it has no id of its own."""
    if kind is None:
        rows.trades.setdefault(CONTENT, []).append(occurrences.name(trade))
    else:
        rows.trades.setdefault(kind, []).append(trade)
