"""Binance's archive files (data.binance.vision): trades or aggTrades, spot or futures, as they are or packed."""

import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from common.errors import ConfigError
from ops.exchange.protocol import Aggregate, Fill, Print

_NAME = re.compile(r"(?:^|[-_.])([A-Z0-9]{2,30}(?:_\d{6})?)[-_](?:aggTrades|trades)(?:[-_.]|$)")
_MICROSECONDS_FROM = 10**14


@dataclass(frozen=True)
class Layout:
    """What a file's columns say: `kind` is the stream its rows came from."""

    kind: str
    columns: int
    time_column: int
    unit_us: int

    def identity(self, line: str) -> tuple[int, int]:
        """Id and time in microseconds of a row, which `read` can then surely read.

        Raises:
            ValueError: other columns than the first row's, or no number where one belongs.
        """
        cells = line.split(",")
        numbers = cells[:1] + cells[3 : self.time_column + 1] if self.kind == "aggTrade" else [cells[0], cells[self.time_column]]
        if len(cells) != self.columns or not all(map(str.isdigit, numbers)):
            raise ValueError("not the columns of the first row")
        return int(numbers[0]), int(numbers[-1]) * self.unit_us

    def read(self, line: str) -> Print:
        """A row; price and size keep the file's text."""
        cells = line.rstrip("\r\n").split(",")
        time_us = int(cells[self.time_column]) * self.unit_us
        maker = cells[self.time_column + 1].lower() == "true"
        best = cells[self.time_column + 2].lower() == "true" if len(cells) > self.time_column + 2 else True
        if self.kind == "trade":
            return Fill(int(cells[0]), cells[1], cells[2], cells[3], time_us, maker, best)
        return Aggregate(int(cells[0]), cells[1], cells[2], int(cells[3]), int(cells[4]), time_us, maker, best)


def symbol_of(path: Path) -> str:
    """Symbol in a file's name.

    >>> symbol_of(Path("binance_spot_BTCUSDT_aggTrades_2024-01-01.csv.zst"))
    'BTCUSDT'
    """
    found = _NAME.search(path.name)
    if not found:
        raise ConfigError(f"GEMS_SIM_PLAY: no symbol in the name {path.name!r} (such as BTCUSDT-aggTrades-2024-01-01.csv)")
    return found[1]


def layout_of(row: str) -> Layout | None:
    """Layout by a row's columns: spot trades 7, spot aggTrades 8, futures 6 and 7; None if it is none of them."""
    cells = row.strip().split(",")
    truth = [cell.lower() in ("true", "false") for cell in cells]
    kind_of = {6: ("trade", 4), 7: ("trade", 4) if truth[5:6] == [True] else ("aggTrade", 5), 8: ("aggTrade", 5)}
    if len(cells) not in kind_of:
        return None
    kind, time_column = kind_of[len(cells)]
    if not all(truth[time_column + 1 :]) or not cells[time_column].isdigit():
        return None
    return Layout(kind, len(cells), time_column, 1 if int(cells[time_column]) >= _MICROSECONDS_FROM else 1000)


def is_header(row: str) -> bool:
    """True for a first line of names."""
    return not row.split(",")[0].strip().isdigit()


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a plain, .gz, .zst or .zip file (its first member), each with its end."""
    with path.open("rb") as packed:
        yield from _lines(path.suffix, packed)


def _lines(suffix: str, packed: IO[bytes]) -> Iterator[Iterator[bytes]]:
    if suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(packed) as plain:
            yield iter(io.BufferedReader(plain, 1 << 20))
    elif suffix == ".gz":
        with gzip.open(packed) as plain_gzip:
            yield iter(io.BufferedReader(plain_gzip, 1 << 20))
    elif suffix == ".zip":
        with zipfile.ZipFile(packed) as archive, archive.open(archive.namelist()[0]) as member:
            yield iter(member)
    else:
        yield iter(packed)
