"""Live messages of the usual form, many at once: one regular expression finds the fields that rows are made of.

The form is what Binance sends, to the letter: known fields in their order, ids and stamps (microseconds) of the usual length, no
white space. Fields that the venue may append one day are passed over. What any other message is, `parse_message` tells.
"""

import re
from collections.abc import Sequence
from typing import TypeAlias

from producer.venues.binance import ID_KEY

#: Symbol, id, price, quantity, stamp, its seconds, the rest of it, "true" if the buyer was the maker. All are empty where a
#: message is not usual.
Fields: TypeAlias = tuple[str, str, str, str, str, str, str, str]

_WHOLE = "(?:0|[1-9][0-9]{0,17})"
_STAMP = "(([1-9][0-9]{9})([0-9]{6}))"
_DIGITS = "([0-9.]+)"  # the judge tells which of these are decimals
_TEXT = r'"[ !#-\[\]-~]*"'  # without escapes
_BEFORE_STAMP = {"trade": "", "aggTrade": f'"f":{_WHOLE},"l":{_WHOLE},'}


class UsualMessages:
    """Finds the usual messages of one kind."""

    def __init__(self, kind: str) -> None:
        key = ID_KEY[kind]
        more = f'(?:,"(?!(?:[espqTm]|{key})")[A-Za-z]+":(?:{_WHOLE}|true|false|null|{_TEXT}))*'
        usual = (
            rf'\{{"stream":{_TEXT},"data":\{{"e":"{kind}","E":{_WHOLE},"s":"([A-Z0-9:._-]+)","{key}":({_WHOLE}),'
            rf'"p":"{_DIGITS}","q":"{_DIGITS}",{_BEFORE_STAMP[kind]}"T":{_STAMP},"m":(?:(true)|false){more}\}}\}}'
        )
        self._findall = re.compile(rf"{usual}\n|.*\n").findall

    def find(self, texts: Sequence[bytes]) -> list[Fields] | None:
        """The fields of each message; None if one of them has more than a line: which fields are whose can not be told then."""
        joined = b"\n".join([*texts, b""]).decode("latin-1")  # of UTF-8, one strange letter would spoil all
        found: list[Fields] = self._findall(joined)
        return found if len(found) == len(texts) else None
