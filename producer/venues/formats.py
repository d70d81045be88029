"""Which reader a file needs, by its first line."""

from common.judge import Limits
from producer.venues.archive import FileName, Reader
from producer.venues.csvfile import csv_reader
from producer.venues.jsonfile import JsonReader


def reader_for(first_line: str, name: FileName, symbol: str | None, limits: Limits) -> Reader:
    """The reader of a file that begins with this line; `symbol` is what its sender says it is of.

    Raises:
        MalformedMessage: no known format, or the symbol is not known.
    """
    if first_line.lstrip()[:1] in ("{", "["):
        return JsonReader(name, symbol, limits)
    return csv_reader(first_line, name, symbol, limits)
