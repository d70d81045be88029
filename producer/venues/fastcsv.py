"""Blocks of a Binance archive straight into rows of an entry: one regular expression judges and trims them all.

It takes only blocks of which every row is of the usual form and good; any other block goes the long way, through
`common.judge`, which gives the same rows (a property test says so) and names what is bad.
"""

import re
from collections.abc import Sequence

from common.codec import iso_us
from common.judge import AHEAD_US, Limits
from producer.venues.fields import MAKER_SIDES

_ID = r"(0|[1-9][0-9]{0,17})"
#: Above zero, its fraction a group of its own; behind the groups the zeros that the canonical form leaves out.
_DECIMAL = r"(?!0(?:\.0+)?,)((?:0|[1-9][0-9]{0,17})(\.[0-9]{0,17}[1-9])?)(?(%d)0{0,18}|(?:\.0{1,18})?)"
_STAMP = r"([1-9][0-9]{9})([0-9]{3}(?:[0-9]{3})?)"  # seconds, and milliseconds or microseconds of them
_MAKER = r"(True|False|true|false)"
_ANY = r'[^,\n"]*'


class FastRows:
    """The rows of archives with columns in these places; id, price and quantity are the first three."""

    def __init__(self, symbol: str, width: int, stamp: int, maker: int, limits: Limits) -> None:
        columns = [_ID, _DECIMAL % 3, _DECIMAL % 5, *[_ANY] * (width - 3)]
        columns[stamp], columns[maker] = _STAMP, _MAKER
        self._row = re.compile(f"^{','.join(columns)}$", re.ASCII | re.MULTILINE)
        self._symbol, self._limits = symbol, limits

    def encode(self, lines: Sequence[str], entry_ms: int) -> list[str] | None:
        """A row of an entry for each line, as `encode_row(judge(...))` gives it; None: take the long way."""
        found = self._row.findall("\n".join(lines))
        if len(found) != len(lines) or not found:
            return None
        seconds: dict[str, str] = {}
        oldest_us, newest_us = self._limits.oldest_us(entry_ms), entry_ms * 1000 + AHEAD_US
        for second in {row[5] for row in found}:
            start_us = int(second) * 1_000_000
            if start_us < oldest_us or start_us + 1_000_000 > newest_us:
                return None  # at the border the fraction decides
            seconds[second] = iso_us(start_us)[:-7]
        symbol, sides = self._symbol, MAKER_SIDES
        return [
            f"{symbol},{trade_id},{seconds[second]}{fraction if len(fraction) == 6 else fraction + '000'}Z,"
            f"{price},{size},{sides[maker]},\n"
            for trade_id, price, _, size, _, second, fraction, maker in found
        ]
