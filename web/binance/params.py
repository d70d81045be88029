"""Query parameters as Binance reads them: each once, with its own sentences for what is wrong."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from web.binance.errors import Refused, illegal, missing

DEFAULT_LIMIT, LARGEST_LIMIT = 500, 1000
#: Stamps from here on are microseconds, below it milliseconds.
_MICROSECONDS_FROM = 10**14
_LARGEST = 2**62
_WHOLE = "^[0-9]{1,20}$"


@dataclass(frozen=True)
class Params:
    """A request's parameters."""

    given: Mapping[str, str]

    def text(self, name: str) -> str:
        """A mandatory one."""
        text = self.given.get(name, "")
        if not text:
            raise missing(name)
        return text

    def symbol(self, known: Collection[str]) -> str:
        """The mandatory symbol, upper case as Binance wants it."""
        symbol = self.text("symbol")
        if symbol not in known:
            raise Refused(-1121, "Invalid symbol.")
        return symbol

    def symbols(self, known: Collection[str]) -> list[str] | None:
        """Those of `symbol` or `symbols` (a JSON list); None where neither was sent."""
        if "symbol" in self.given:
            return [self.symbol(known)]
        if "symbols" not in self.given:
            return None
        try:
            listed = json.loads(self.given["symbols"])
        except (ValueError, RecursionError):
            listed = None
        if not isinstance(listed, list) or not listed:
            raise illegal("symbols", '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$')
        if not all(isinstance(symbol, str) and symbol in known for symbol in listed):
            raise Refused(-1121, "Invalid symbol.")
        return listed

    def whole(self, name: str) -> int | None:
        """A whole number; None where it was not sent."""
        text = self.given.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise illegal(name, _WHOLE)
        return min(int(text), _LARGEST)

    def limit(self) -> int:
        """Rows wanted: 500 by default, 1000 at most."""
        limit = self.whole("limit")
        if limit == 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or DEFAULT_LIMIT, LARGEST_LIMIT)

    def time_us(self, name: str, end: bool = False) -> int | None:
        """A stamp in ms or us, told apart by its size; the last microsecond of a millisecond where `end`. None: not sent."""
        stamp = self.whole(name)
        if stamp is None:
            return None
        stamp_us = stamp if stamp >= _MICROSECONDS_FROM else stamp * 1000 + (999 if end else 0)
        return min(stamp_us, 253_402_300_799_999_999)  # the end of the year 9999, the last that a datetime holds

    def times_us(self) -> tuple[int | None, int | None]:
        """`startTime` and `endTime`, both included."""
        start_us, end_us = self.time_us("startTime"), self.time_us("endTime", end=True)
        if start_us is not None and end_us is not None and start_us > end_us:
            raise Refused(-1127, "Start time is greater than end time.")
        return start_us, end_us
