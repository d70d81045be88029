"""The statistics stage: closed bars in, rows of `price_stats` out, in the aggregator's transaction.

Its memory is the stored bars themselves: a series that it does not know, or no longer trusts, is read from them when its next
bar closes. So start, resume and what follows a rebuild are one path.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.core import Closed
from aggregator.pricestats import FIELDS, NAMES, Windows
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.settings import Settings

Array = np.ndarray[Any, Any]
KEY = "symbol, timeframe, window_bars, timestamp"
VALUES = ", ".join((*NAMES, "has_gap"))
#: Whole numbers below it, over powers of ten up to this one, divide as exactly as decimals are read.
_EXACT, _EXACT_SCALE = 2**53, 22
_POWERS = np.array([float(10**scale) for scale in range(_EXACT_SCALE + 1)])
_STAGE = f"""CREATE TEMPORARY TABLE IF NOT EXISTS staged_stats ON COMMIT DELETE ROWS
AS SELECT {KEY}, {VALUES} FROM price_stats WITH NO DATA"""  # noqa: S608
_COPY = f"COPY staged_stats ({KEY}, {VALUES}) FROM STDIN"
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


class _Series(NamedTuple):
    """A symbol's bars of a timeframe that have just closed, as rows `[first, end)` of the table they came in."""

    symbol: str
    slot: int
    first: int
    end: int


class StatStage:
    """All symbols of a shard, at all timeframes, with the window of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._is_on, self._window = settings.stats == "on", settings.stats_window
        self._windows: dict[str, Windows] = {}
        self._slots: dict[tuple[str, str], int] = {}
        self._last_us: dict[tuple[str, str], int] = {}  # of the series whose window is as it is stored

    def reload(self, series: Iterable[tuple[str, str]]) -> None:
        """Bars of these (symbol, timeframe) were rebuilt: their windows are read again."""
        for key in series:
            self._last_us.pop(key, None)

    def step(self, cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols) -> int:
        """Write the rows of bars that have closed and are stored; answers how many there are."""
        lines: list[str] = []
        for timeframe, rows in closed.items() if self._is_on else ():
            lines += self._rows(cursor, timeframe, rows, symbols)
        if lines:
            stage_rows(cursor, lines)
            cursor.execute(_INSERT)
        return len(lines)

    def _rows(self, cursor: Cursor, timeframe: str, closed: Closed, symbols: Symbols) -> list[str]:
        found = self._series(timeframe, closed, symbols)
        if not found:
            return []
        windows = self._windows[timeframe]
        self._read_windows(cursor, timeframe, closed, found)
        chosen = np.concatenate([np.arange(series.first, series.end) for series in found])
        slots = np.repeat([series.slot for series in found], [series.end - series.first for series in found])
        values, gaps = windows.follow(slots, bar_columns(closed, symbols)[:, chosen])
        starts = closed.bars.start_us.tolist()
        for series in found:
            self._last_us[series.symbol, timeframe] = starts[series.end - 1]
        keys = [f"{s.symbol}\t{timeframe}\t{self._window}\t{iso_us(starts[at])}" for s in found for at in range(s.first, s.end)]
        return copy_lines(keys, values, gaps)

    def _series(self, timeframe: str, closed: Closed, symbols: Symbols) -> list[_Series]:
        """The series that have new bars; bars of the past (closed once more after a doubt) have their rows already."""
        codes, starts = closed.bars.symbol, closed.bars.start_us
        first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1]))).tolist() if len(codes) else []
        names = [symbols.names[code] for code in codes[first].tolist()]
        self._make_slots(timeframe, [name for name in names if (name, timeframe) not in self._slots])
        found = []
        for name, begin, end in zip(names, first, [*first[1:], len(codes)], strict=True):
            new = begin + int(np.searchsorted(starts[begin:end], self._last_us.get((name, timeframe), -1), side="right"))
            if new < end:
                found.append(_Series(name, self._slots[name, timeframe], new, end))
        return found

    def _make_slots(self, timeframe: str, names: Sequence[str]) -> None:
        windows = self._windows.setdefault(timeframe, Windows(self._window))
        if names:
            slots = windows.add_slots(len(names))
            self._slots |= {(name, timeframe): slot for name, slot in zip(names, slots, strict=True)}

    def _read_windows(self, cursor: Cursor, timeframe: str, closed: Closed, found: Sequence[_Series]) -> None:
        """Read the windows before the first new bar of each series that is not known."""
        unknown = [series for series in found if (series.symbol, timeframe) not in self._last_us]
        if not unknown:
            return
        wanted = [
            (line, series.symbol, timeframe, iso_us(int(closed.bars.start_us[series.first])), self._window)
            for line, series in enumerate(unknown)
        ]
        before: list[list[tuple[Any, ...]]] = [[] for _ in unknown]
        for line, *bar in execute_values(cursor, _BARS_BEFORE, wanted, page_size=len(wanted), fetch=True):
            before[line].append(tuple(bar))
        for series, bars in zip(unknown, before, strict=True):
            self._windows[timeframe].begin(series.slot, columns_of(bars))


def bar_columns(closed: Closed, symbols: Symbols) -> Array:
    """Closed bars as float64 (fields x bars), each number as near to the decimal as reading its text gives."""
    bars = closed.bars
    price, size = symbols.price_scale[bars.symbol], symbols.size_scale[bars.symbol]
    columns = [_floats(values, price) for values in (bars.open, bars.high, bars.low, bars.close)]
    columns += [_floats(bars.volume, size), _floats(bars.quote, price + size), _floats(bars.taker_buy, size)]
    return np.array([*columns, [float(status == "gap") for status in closed.status]])


def _floats(values: Array, scales: Array) -> Array:
    """`values / 10**scales`, rounded once."""
    if values.dtype != object and int(scales.max()) <= _EXACT_SCALE and int(np.abs(values).max()) < _EXACT:
        quotients: Array = values / _POWERS[scales]
        return quotients
    return np.array([int(value) / 10 ** int(scale) for value, scale in zip(values.tolist(), scales.tolist(), strict=True)])


def columns_of(rows: Sequence[Sequence[Any]]) -> Array:
    """Stored bars (`BAR_FIELDS` each, oldest first) as float64, fields x bars."""
    return np.array([[float(value) for value in row] for row in rows]).reshape(len(rows), len(FIELDS)).T


def copy_lines(keys: Iterable[str], values: Array, gaps: Array) -> list[str]:
    """COPY text of rows; floats are written so that they are read again to the last bit, NaN is NULL."""
    rows = zip(keys, values.T.tolist(), gaps.tolist(), strict=True)
    return [
        "\t".join((key, *["\\N" if value != value else repr(value) for value in row], "t\n" if gap else "f\n"))
        for key, row, gap in rows
    ]


def stage_rows(cursor: Cursor, lines: Iterable[str]) -> None:
    """Copy rows into this session's `staged_stats`, which each commit empties."""
    cursor.execute(_STAGE)
    cursor.copy_expert(_COPY, io.StringIO("".join(lines)))
