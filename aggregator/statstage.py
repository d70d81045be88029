"""The statistics stage: closed bars in, rows of `price_stats` out, in the aggregator's transaction.

Its memory is the stored bars themselves: a series that it does not know, or no longer trusts, is read from them when its next
bar closes. So start, resume and what follows a rebuild are one path.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.bars import floats
from aggregator.core import Closed
from aggregator.pricestats import FIELDS, NAMES, Windows
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.settings import Settings

Array = np.ndarray[Any, Any]
KEY = "symbol, timeframe, window_bars, timestamp"
VALUES = ", ".join((*NAMES, "has_gap"))
_STAGE = f"""CREATE TEMPORARY TABLE IF NOT EXISTS staged_stats ON COMMIT DELETE ROWS
AS SELECT {KEY}, {VALUES} FROM price_stats WITH NO DATA"""  # noqa: S608
_COPY = f"COPY staged_stats ({KEY}, {VALUES}) FROM STDIN (DELIMITER ',', NULL 'null')"
_COPY_NEW = _COPY.replace("staged_stats", "price_stats")
_INSERT = f"""
INSERT INTO price_stats ({KEY}, {VALUES}) SELECT {KEY}, {VALUES} FROM staged_stats ON CONFLICT DO NOTHING
"""  # noqa: S608
#: The bars before a stamp, oldest first; `FIELDS` in their order.
BAR_FIELDS = "open, high, low, close, volume, quote_volume, taker_buy_volume, (status = 'gap')::integer"
_BARS_BEFORE = f"""
SELECT line, {BAR_FIELDS} FROM (VALUES %s) AS wanted (line, symbol, timeframe, start, bars),
LATERAL (SELECT * FROM processed_bars b WHERE b.symbol = wanted.symbol AND b.timeframe = wanted.timeframe
    AND b.timestamp < wanted.start::timestamptz ORDER BY b.timestamp DESC LIMIT wanted.bars) AS before
ORDER BY line, before.timestamp
"""  # noqa: S608


@dataclass(slots=True)
class _Memory:
    """The windows of one timeframe, a slot for each symbol's code; `last_us` is the newest bar in it, -1: not known."""

    windows: Windows
    last_us: Array

    def grow(self, count: int) -> None:
        """Have slots for so many symbols."""
        more = count - len(self.last_us)
        if more > 0:
            self.windows.add_slots(more)
            self.last_us = np.concatenate((self.last_us, np.full(more, -1, dtype=np.int64)))


class StatStage:
    """All symbols of a shard, at all timeframes, with the window of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._is_on, self._window = settings.stats == "on", settings.stats_window
        self._memories: dict[str, _Memory] = {}
        self._outdated: set[tuple[str, str]] = set()

    def reload(self, series: Iterable[tuple[str, str]]) -> None:
        """Bars of these (symbol, timeframe) were rebuilt: their windows are read again."""
        self._outdated |= set(series)

    def step(self, cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols) -> int:
        """Write the rows of bars that have closed and are stored; answers how many there are."""
        self._forget_outdated(symbols)
        lines: list[str] = []
        for timeframe, rows in closed.items() if self._is_on else ():
            lines += self._rows(cursor, timeframe, rows, symbols)
        if lines and not _copy_new(cursor, lines):
            stage_rows(cursor, lines)
            cursor.execute(_INSERT)
        return len(lines)

    def _forget_outdated(self, symbols: Symbols) -> None:
        for symbol, timeframe in self._outdated:
            memory, code = self._memories.get(timeframe), symbols.codes.get(symbol)
            if memory and code is not None and code < len(memory.last_us):
                memory.last_us[code] = -1
        self._outdated.clear()

    def _rows(self, cursor: Cursor, timeframe: str, closed: Closed, symbols: Symbols) -> list[str]:
        memory = self._memories.setdefault(timeframe, _Memory(Windows(self._window), np.zeros(0, dtype=np.int64)))
        memory.grow(len(symbols))
        codes, starts = closed.bars.symbol, closed.bars.start_us
        new = np.flatnonzero(starts > memory.last_us[codes])  # one of the past was closed once more, and has its row
        if not len(new):
            return []
        codes, starts = codes[new], starts[new]
        first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        self._read_windows(cursor, timeframe, memory, codes[first], starts[first], symbols)
        values, gaps = memory.windows.follow(codes, bar_columns(closed, symbols)[:, new])
        memory.last_us[codes[first]] = starts[np.append(first[1:], len(codes)) - 1]
        names, begun = symbols.names, f",{timeframe},{self._window},"
        keys = [f"{names[code]}{begun}{iso_us(start)}" for code, start in zip(codes.tolist(), starts.tolist(), strict=True)]
        return copy_lines(keys, values, gaps)

    def _read_windows(
        self, cursor: Cursor, timeframe: str, memory: _Memory, codes: Array, starts: Array, symbols: Symbols
    ) -> None:
        """Read the windows of the series that are not known, before the first new bar of each."""
        unknown = memory.last_us[codes] < 0
        if not unknown.any():
            return
        wanted = [
            (code, symbols.names[code], timeframe, iso_us(start), self._window)
            for code, start in zip(codes[unknown].tolist(), starts[unknown].tolist(), strict=True)
        ]
        before: dict[int, list[tuple[Any, ...]]] = {line[0]: [] for line in wanted}
        for code, *bar in execute_values(cursor, _BARS_BEFORE, wanted, page_size=len(wanted), fetch=True):
            before[code].append(tuple(bar))
        for code, bars in before.items():
            memory.windows.begin(code, columns_of(bars))


def bar_columns(closed: Closed, symbols: Symbols) -> Array:
    """Closed bars as float64 (fields x bars), each number as near to the decimal as reading its text gives."""
    bars = closed.bars
    price, size = symbols.price_scale[bars.symbol], symbols.size_scale[bars.symbol]
    columns = [floats(values, price) for values in (bars.open, bars.high, bars.low, bars.close)]
    columns += [floats(bars.volume, size), floats(bars.quote, price + size), floats(bars.taker_buy, size)]
    return np.array([*columns, [float(status == "gap") for status in closed.status]])


def columns_of(rows: Sequence[Sequence[Any]]) -> Array:
    """Stored bars (`BAR_FIELDS` each, oldest first) as float64, fields x bars."""
    return np.array([[float(value) for value in row] for row in rows]).reshape(len(rows), len(FIELDS)).T


def copy_lines(keys: Iterable[str], values: Array, gaps: Array) -> list[str]:
    """COPY text of rows; orjson writes what reads back to the last bit, NaN as null, in a seventh of the time of `repr`."""
    rows = orjson.dumps(np.ascontiguousarray(values.T), option=orjson.OPT_SERIALIZE_NUMPY).decode()[2:-2].split("],[")
    return [f"{key},{row},{gap}\n" for key, row, gap in zip(keys, rows, gaps.tolist(), strict=True)]


def _copy_new(cursor: Cursor, lines: Iterable[str]) -> bool:
    """Write rows that nobody has written, at half the price of staging them; False: some are there, and nothing was written."""
    cursor.execute("SAVEPOINT new_stats")
    try:
        cursor.copy_expert(_COPY_NEW, io.StringIO("".join(lines)))
    except errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT new_stats")
        return False
    return True


def stage_rows(cursor: Cursor, lines: Iterable[str]) -> None:
    """Copy rows into this session's `staged_stats`, which each commit empties."""
    cursor.execute(_STAGE)
    cursor.copy_expert(_COPY, io.StringIO("".join(lines)))
