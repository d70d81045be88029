"""The one judge of trades: every source is judged here before its entry is made, and every reader judges by the same function.

Any rule about time uses the milliseconds of the stream entry's id, never the reader's clock.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from common.errors import InvalidTrade
from common.settings import SYMBOL_PATTERN, Settings
from common.trades import US_PER_DAY, Trade

MAX_DIGITS = 38
AHEAD_US = 60_000_000
MAX_ID = 2**63 - 1
MAX_SEQ = 2**31 - 1
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_SHORT_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,18})\.[0-9]{1,18}", re.ASCII)
_new_trade = tuple.__new__  # a named tuple's own constructor costs as much as a decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """What the judge compares stamps with."""

    earliest_us: int
    retention_us: int  # 0: everything is kept

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that these settings ask for."""
        return cls(settings.earliest_us, settings.tick_retention_days * US_PER_DAY)

    def oldest_us(self, entry_ms: int) -> int:
        """Stamps below this are refused in an entry of that time."""
        return max(self.earliest_us, entry_ms * 1000 - self.retention_us) if self.retention_us else self.earliest_us


def judge(trade: Trade, limits: Limits, entry_ms: int) -> Trade:
    """The trade in canonical form (decimals without needless zeros).

    Raises:
        InvalidTrade: names the field, its value and the rule.
    """
    symbol, trade_id, event_us, price, size, side, seq = trade
    if not _is_symbol(symbol):
        raise InvalidTrade("symbol", symbol, "must be upper case, at most 40 of A-Z 0-9 : . _ -")
    if not -MAX_ID <= trade_id <= MAX_ID:
        raise InvalidTrade("trade_id", trade_id, "must fit 63 bits")
    if limits.retention_us or not limits.earliest_us <= event_us <= entry_ms * 1000 + AHEAD_US:
        judge_stamp(event_us, limits, entry_ms)
    if side not in ("b", "s", ""):
        raise InvalidTrade("side", side, "must be b, s or empty")
    if seq is not None and not 0 <= seq <= MAX_SEQ:
        raise InvalidTrade("seq", seq, "must be from 0 to 2147483647")
    plain = short_decimal(price) or plain_decimal("price", price), short_decimal(size) or plain_decimal("size", size)
    return _new_trade(Trade, (symbol, trade_id, event_us, *plain, side, seq))


def judge_stamp(event_us: int, limits: Limits, entry_ms: int) -> None:
    """Refuse a stamp outside what an entry of that time may hold."""
    if event_us < limits.oldest_us(entry_ms):
        why = "is before GEMS_EARLIEST" if event_us < limits.earliest_us else "is older than the tick retention"
        raise InvalidTrade("timestamp", event_us, why)
    if event_us > entry_ms * 1000 + AHEAD_US:
        raise InvalidTrade("timestamp", event_us, "is more than 60 s in the future")


def plain_decimal(field: str, text: str) -> str:
    """Canonical text of a positive plain decimal of at most 38 digits.

    >>> plain_decimal("price", "0043000.1200")
    '43000.12'
    """
    given = text
    if not _DECIMAL.fullmatch(text):
        raise InvalidTrade(field, text, "must be a plain positive decimal such as 43000.12")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if text[:1] == "0" and text != "0":
        text = text.lstrip("0")
        text = "0" + text if text.startswith(".") else text
    if text in ("0", ""):
        raise InvalidTrade(field, given, "must be above 0")
    if len(text) - ("." in text) > MAX_DIGITS:
        raise InvalidTrade(field, given, f"must have at most {MAX_DIGITS} digits")
    return text


@lru_cache(256)
def _is_symbol(symbol: str) -> bool:
    return SYMBOL_PATTERN.fullmatch(symbol) is not None


@lru_cache(16_384)
def short_decimal(text: str) -> str:
    """What `plain_decimal` gives for the form that venues send; empty where that has to look. Prices repeat: remembered."""
    if not _SHORT_DECIMAL.fullmatch(text):
        return ""
    plain = text.rstrip("0").rstrip(".")
    return "" if plain == "0" else plain


def content_id(symbol: str, event_us: int, price: str, size: str, occurrence: int) -> int:
    """A negative id made from a tick's content, so that the same request sent twice gives the same ids.

    `price` and `size` are canonical; `occurrence` counts equal ticks within one request, from 0.
    """
    text = f"{symbol},{event_us},{price},{size},{occurrence}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return -1 - (int.from_bytes(digest, "big") >> 1) % MAX_ID
