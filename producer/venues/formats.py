"""Which reader a file needs, by its first line."""

from common.errors import MalformedMessage
from common.judge import Limits
from common.settings import SYMBOL_PATTERN
from producer.venues.archive import FileName, Reader
from producer.venues.csvfile import csv_reader
from producer.venues.jsonfile import JsonReader


def reader_for(first_line: str, name: FileName, symbol: str | None, limits: Limits) -> Reader:
    """The reader of a file that begins with this line; `symbol` is what its sender says it is of.

    Raises:
        MalformedMessage: no known format, or the symbol is not known.
    """
    if symbol is not None and not SYMBOL_PATTERN.fullmatch(symbol):
        raise MalformedMessage(f"symbol must be upper case, at most 40 of A-Z 0-9 : . _ -, was {symbol!r:.60}")
    if first_line.lstrip()[:1] in ("{", "["):
        return JsonReader(name, symbol, limits)
    return csv_reader(first_line, name, symbol, limits)
