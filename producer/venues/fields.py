"""Fields of ticks as files write them: stamps, ids, sides and numbers, exactly."""

import re
from decimal import Decimal
from typing import Any

from common.codec import parse_iso_us
from common.errors import InvalidTrade
from producer.venues.binance import US_FROM

_EPOCH = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,20}))?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
#: Who took: as sides are written, and as `is_buyer_maker` says it (the maker bought, so the taker sold).
_SIDES = {"buy": "b", "b": "b", "sell": "s", "s": "s", "": ""}
MAKER_SIDES = {"True": "s", "true": "s", "TRUE": "s", "1": "s", "False": "b", "false": "b", "FALSE": "b", "0": "b"}


def stamp_us(text: str) -> int:
    """Microseconds since 1970 of ISO 8601 with Z or an offset, or of epoch ms or us; what is finer is cut."""
    found = _EPOCH.fullmatch(text)
    if not found:
        return parse_iso_us(text)
    whole = int(found[1])
    return whole if whole >= US_FROM else whole * 1000 + int((found[2] or "")[:3].ljust(3, "0"))


def whole_id(text: str) -> int:
    """An exchange's id."""
    if not _WHOLE.fullmatch(text):
        raise InvalidTrade("trade_id", text, "must be a whole number from 0")
    return int(text)


def taker_side(text: str) -> str:
    """`b` or `s` of buy or sell."""
    side = _SIDES.get(text.lower())
    if side is None:
        raise InvalidTrade("side", text, "must be buy or sell")
    return side


def maker_side(text: str) -> str:
    """The taker's side of `is_buyer_maker`."""
    side = MAKER_SIDES.get(text)
    if side is None:
        raise InvalidTrade("side", text, "must be True or False: was the buyer the maker")
    return side


def decimal_text(name: str, value: Any) -> str:
    """Plain decimal text of a string, a whole number, or the text of a JSON number with an exponent; never of a float."""
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise InvalidTrade(name, value, "must be a positive decimal such as 43000.12")
    return format(Decimal(value), "f") if "e" in value or "E" in value else value
