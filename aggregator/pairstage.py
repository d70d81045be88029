"""The pair stage: closed bars in, rows of `spread_analytics` out, in the aggregator's transaction.

Its memory is the rows themselves: a start reads the last window of them and the bars since, so start and resume are one path.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.core import Closed
from aggregator.legs import LegBar, Legs, Row
from aggregator.pairs import pair_statistics
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.settings import Settings, pair_legs
from common.streams import shard_of
from common.timeframes import timeframe_us
from common.trades import from_us, to_us

#: A series without rows begins this many bars back at most (or three windows); a task computes what is older.
FIRST_ROWS = 5_000
_INSERT = """
INSERT INTO spread_analytics (symbol_pair, timeframe, window_bars, method, timestamp, symbol1_price, symbol2_price,
    hedge_ratio, intercept, spread, rolling_mean, rolling_std, z_score, correlation, carried, has_gap)
VALUES %s ON CONFLICT DO NOTHING
"""
#: The first row in each block of `coint_every_bars` bar lengths is tested; the rows of the block carry its result.
_ASK_TEST = """
INSERT INTO pair_tests (symbol_pair, timeframe, window_bars, block_us, timestamp) VALUES %s ON CONFLICT DO NOTHING
"""
_KNOWN_TESTS = """
UPDATE spread_analytics s SET adf_statistic = t.statistic, adf_pvalue = t.pvalue, is_cointegrated = t.is_cointegrated,
    coint_at = t.timestamp
FROM (VALUES %s) AS r (symbol_pair, timeframe, window_bars, block_us, timestamp)
JOIN pair_tests t ON (t.symbol_pair, t.timeframe, t.window_bars, t.block_us)
    = (r.symbol_pair, r.timeframe, r.window_bars::integer, r.block_us::bigint) AND t.tested_at IS NOT NULL
WHERE (s.symbol_pair, s.timeframe, s.window_bars, s.method) = (r.symbol_pair, r.timeframe, r.window_bars::integer, 'ols')
    AND s.timestamp = r.timestamp::timestamptz
"""
_LAST_ROWS = """
SELECT timestamp, symbol1_price, symbol2_price, spread FROM spread_analytics
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = 'ols' ORDER BY timestamp DESC LIMIT %s
"""
_LAST_BARS = """
SELECT timestamp, close, status FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp > %s AND timestamp < %s
ORDER BY timestamp
"""
_COMMITTED_WATERMARKS = """
SELECT key, max(value::bigint) FROM checkpoints, jsonb_each_text(watermarks) WHERE key = ANY(%s) GROUP BY key
"""

#: Held shared by whoever adds pair rows, alone by whoever recomputes what they stand on.
ROWS_LOCK = 0x6765_6D73_0003


class PairKey(NamedTuple):
    """One series of rows."""

    pair: str
    timeframe: str
    window: int


@dataclass(slots=True)
class PairSeries:
    """The last window of a series, and its legs."""

    key: PairKey
    symbols: tuple[str, str]
    legs: Legs
    y: np.ndarray[Any, Any]
    x: np.ndarray[Any, Any]
    spreads: np.ndarray[Any, Any]
    block: int = -1

    def extend(self, rows: Sequence[Row]) -> list[tuple[float | None, ...]]:
        """Statistics of new rows; the window moves on."""
        window = self.key.window
        y = np.concatenate((self.y, [row.y.close for row in rows]))
        x = np.concatenate((self.x, [row.x.close for row in rows]))
        statistics = pair_statistics(y, x, self.spreads, window, len(rows))
        self.y, self.x = y[-(window - 1) :], x[-(window - 1) :]
        self.spreads = np.concatenate((self.spreads, statistics.spread))[-(window - 1) :]
        return statistics.rows()


class PairStage:
    """All pairs whose y is of a shard, at all timeframes. An x of another shard comes from what that shard has committed."""

    def __init__(self, settings: Settings, shard: int) -> None:
        self._settings, self._shard = settings, shard
        self._series: list[PairSeries] = []
        self._by_symbol: dict[tuple[str, str], list[tuple[PairSeries, str]]] = {}

    def load(self, cursor: Cursor, watermarks: Mapping[str, int]) -> None:
        """Read each series' last window, and the bars since that a committed checkpoint has closed."""
        self._series, self._by_symbol = [], {}
        for pair in self._settings.pairs:
            legs = pair_legs(pair, self._settings.symbols)
            if legs and self._is_ours(legs[0]):
                known = {**watermarks, **self._foreign_watermarks(cursor, legs)}
                for timeframe in self._settings.timeframes:
                    self._load_series(cursor, PairKey(pair, timeframe, self._settings.window), legs, known)

    def step(self, cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols) -> list[dict[str, Any]]:
        """Take the bars that have closed, write the rows they complete; answers the rows as live events tell them."""
        for timeframe, rows in closed.items():
            self._give(timeframe, rows, symbols)
        for series in self._series:
            for leg, symbol in zip((series.legs.y, series.legs.x), series.symbols, strict=True):
                code = symbols.codes.get(symbol)
                leg.closed_us = max(leg.closed_us, int(symbols.watermark_us[code])) if code is not None else leg.closed_us
            self._read_foreign_leg(cursor, series)
        return [event for series in self._series for event in self._write(cursor, series)]

    def _is_ours(self, symbol: str) -> bool:
        return shard_of(symbol, self._settings.shards) == self._shard

    def _foreign_watermarks(self, cursor: Cursor, symbols: tuple[str, str]) -> dict[str, int]:
        foreign = [symbol for symbol in symbols if not self._is_ours(symbol)]
        if foreign:
            cursor.execute(_COMMITTED_WATERMARKS, (foreign,))
        return dict(cursor.fetchall()) if foreign else {}

    def _read_foreign_leg(self, cursor: Cursor, series: PairSeries) -> None:
        """The bars that another shard has closed since: its watermark first, so that all bars up to it are there."""
        x, leg = series.symbols[1], series.legs.x
        closed_us = self._foreign_watermarks(cursor, series.symbols).get(x, -1)
        if closed_us > leg.closed_us:
            since_us = leg.closed_us - timeframe_us(series.key.timeframe)
            for bar in _bars(cursor, x, series.key.timeframe, since_us, closed_us):
                leg.add(bar)
            leg.closed_us = closed_us

    def _give(self, timeframe: str, closed: Closed, symbols: Symbols) -> None:
        bars = closed.bars
        for row, code in enumerate(bars.symbol.tolist()):
            for series, leg in self._by_symbol.get((symbols.names[code], timeframe), ()):
                scale = int(symbols.price_scale[code])
                whole = int(bars.close[row])
                bar = LegBar(int(bars.start_us[row]), f"{whole}e-{scale}", whole / 10**scale, closed.status[row] == "gap")
                getattr(series.legs, leg).add(bar)

    def _write(self, cursor: Cursor, series: PairSeries) -> list[dict[str, Any]]:
        rows = series.legs.rows()
        if not rows:
            return []
        key = series.key
        values = series.extend(rows)
        execute_values(cursor, _INSERT, [
            (*key, "ols", iso_us(row.start_us), row.y.close_text, row.x.close_text, *statistics, row.carried, row.has_gap)
            for row, statistics in zip(rows, values, strict=True)
        ])  # fmt: skip
        self._ask_tests(cursor, series, rows, values)
        return [_event(key, row, statistics) for row, statistics in zip(rows, values, strict=True)]

    def _ask_tests(
        self, cursor: Cursor, series: PairSeries, rows: Sequence[Row], values: Sequence[tuple[float | None, ...]]
    ) -> None:
        """Ask for a test of the first row of each block; rows of a block whose test is known carry its result."""
        block_us = timeframe_us(series.key.timeframe) * self._settings.coint_every_bars
        asked, known = [], []
        for row, statistics in zip(rows, values, strict=True):
            block = row.start_us // block_us
            if statistics[0] is None:
                continue
            if block != series.block:
                series.block = block
                asked.append((*series.key, block * block_us, iso_us(row.start_us)))
            known.append((*series.key, block * block_us, iso_us(row.start_us)))
        if asked:
            execute_values(cursor, _ASK_TEST, asked)
        if known:
            execute_values(cursor, _KNOWN_TESTS, known)

    def _load_series(
        self, cursor: Cursor, key: PairKey, symbols: tuple[str, str], watermarks: Mapping[str, int]
    ) -> None:
        length_us, stale_us = timeframe_us(key.timeframe), self._settings.stale_leg_s * 1_000_000
        cursor.execute(_LAST_ROWS, (*key, max(1, key.window - 1)))
        rows = cursor.fetchall()[::-1]
        legs = Legs(length_us, stale_us, begun=bool(rows))
        last_us = to_us(rows[-1][0]) if rows else -1
        for name, symbol in zip(("y", "x"), symbols, strict=True):
            leg = getattr(legs, name)
            leg.closed_us = watermarks.get(symbol, -1)
            since_us = last_us - stale_us - length_us if rows else leg.closed_us - max(3 * key.window, FIRST_ROWS) * length_us
            for bar in _bars(cursor, symbol, key.timeframe, since_us, leg.closed_us):
                leg.add(bar)
            if rows:
                leg.take_until(last_us)
        series = PairSeries(
            key, symbols, legs,
            np.array([float(row[1]) for row in rows]), np.array([float(row[2]) for row in rows]),
            np.array([np.nan if row[3] is None else row[3] for row in rows]),
        )  # fmt: skip
        if rows and rows[-1][3] is not None:
            series.block = last_us // (length_us * self._settings.coint_every_bars)
        self._series.append(series)
        for name, symbol in zip(("y", "x"), symbols, strict=True):
            self._by_symbol.setdefault((symbol, key.timeframe), []).append((series, name))


def _bars(cursor: Cursor, symbol: str, timeframe: str, since_us: int, until_us: int) -> Iterable[LegBar]:
    if until_us < 0:
        return
    cursor.execute(_LAST_BARS, (symbol, timeframe, from_us(max(0, since_us)), from_us(until_us)))
    for timestamp, close, status in cursor.fetchall():
        start_us = to_us(timestamp)
        if start_us + timeframe_us(timeframe) <= until_us:
            yield LegBar(start_us, str(close), float(close), status == "gap")


def _event(key: PairKey, row: Row, statistics: tuple[float | None, ...]) -> dict[str, Any]:
    names = ("hedge_ratio", "intercept", "spread", "rolling_mean", "rolling_std", "z_score", "correlation")
    return {
        "symbol_pair": key.pair, "timeframe": key.timeframe, "window": key.window, "timestamp": iso_us(row.start_us),
        "symbol1_price": row.y.close, "symbol2_price": row.x.close, **dict(zip(names, statistics, strict=True)),
        "carried": row.carried, "has_gap": row.has_gap,
    }  # fmt: skip
