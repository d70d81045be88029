"""Live series of pair rows: how one starts from what is stored, and how many of them take their next row together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from psycopg2.extensions import cursor as Cursor

from aggregator.legs import Legs, Row
from aggregator.pairbook import Plan, has_common_bar, last_row_us, leg_bars, made_of, plan_context
from aggregator.pairmath import Rolling, state_rows
from aggregator.pairrows import Made
from aggregator.pairwindow import Values, Window, cost_of, prices_of
from common.pairmethod import PairMethod
from common.pairseries import Series, SeriesKey
from common.settings import Settings
from common.timeframes import timeframe_us
from common.trades import to_us

#: Rows of its past that a new series makes by itself; a task makes what is older.
FILL_ROWS = 500
#: Bars that a series may have missed and still go on from its last row.
CATCH_UP_BARS = 5_000
#: What starting a series may cost, in numbers (see `cost_of`): a tenth of a second. Beyond that a task makes its rows first.
START_COST = 1.5e7
_BLOCK_SLOTS = 64
_LAST_ROWS = """
SELECT timestamp, symbol1_price::float8, symbol2_price::float8, leg_prices::float8[], spread, has_gap, filter_state
FROM spread_analytics
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s ORDER BY timestamp DESC LIMIT %s
"""
_HOLDS_MORE = """
SELECT EXISTS (SELECT 1 FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp > to_timestamp(%s / 1000000.0)
    ORDER BY timestamp OFFSET %s LIMIT 1)
"""


@dataclass(slots=True, eq=False)
class LiveSeries:
    """A series with its legs, its place in a block, and rows that its start has made."""

    series: Series
    legs: Legs
    window: Window
    filled: Sequence[Made] = ()
    told_us: int | None = None  # its last row before that
    block: "Block | None" = None
    slot: int = -1

    @property
    def key(self) -> SeriesKey:
        """Which series."""
        return self.series.key


def start_series(cursor: Cursor, settings: Settings, series: Series, closed_us: dict[str, int]) -> LiveSeries | None:
    """A series as of its last stored row, or as of its newest bars; `closed_us` are its legs' watermarks (-1: none yet).

    None: starting it here would hold up live bars; it can be started once a task has made its rows.
    """
    length_us, stale_us = timeframe_us(series.key.timeframe), settings.stale_leg_s * 1_000_000
    closed = [closed_us.get(symbol, -1) for symbol in series.symbols]
    newest_us = min(closed) - length_us  # the newest row there may be
    last_us = last_row_us(cursor, series.key)
    live = _from_rows(cursor, settings, series, closed) if last_us is not None and newest_us >= 0 else None
    if live is None:
        first_us = max(0, newest_us - FILL_ROWS * length_us)
        first_us -= first_us % (length_us * settings.coint_every_bars)
        plan = plan_context(cursor, settings, series, first_us) if newest_us >= 0 else Plan(0, False)
        legs = Legs(length_us, stale_us, plan.begun, len(series.symbols))
        live = LiveSeries(series, legs, Window(series.key, len(series.symbols)))
        _read_bars(cursor, live, plan.since_us, closed)
        if cost_of(series.key, max(len(leg.waiting) for leg in legs.legs)) > START_COST:
            return None
        rows = legs.rows()
        made = made_of(series.key, rows, live.window.extend(rows), length_us * settings.coint_every_bars)
        live.filled, live.told_us = [one for one in made if one.row.start_us >= first_us], last_us
    return live


def _from_rows(cursor: Cursor, settings: Settings, series: Series, closed: Sequence[int]) -> LiveSeries | None:
    """The series as its last rows left it; None if they are not the whole last window, or too long ago."""
    key, length_us = series.key, timeframe_us(series.key.timeframe)
    cursor.execute(_LAST_ROWS, (*key, key.window))
    rows = cursor.fetchall()[::-1]
    first_us, last_us = to_us(rows[0][0]), to_us(rows[-1][0])
    if last_us > min(closed) - length_us or _has_more_bars(cursor, series, last_us):
        return None
    legs = Legs(length_us, settings.stale_leg_s * 1_000_000, True, len(series.symbols))
    live = LiveSeries(series, legs, Window(key, len(series.symbols)))
    _read_bars(cursor, live, first_us - settings.stale_leg_s * 1_000_000, closed)
    for leg in legs.legs:
        leg.closed_us = last_us + length_us
    made = [row.start_us for row in legs.rows() if row.start_us >= first_us]
    is_first = len(rows) < key.window and not has_common_bar(cursor, series, first_us)
    if made != [to_us(row[0]) for row in rows] or not (len(rows) == key.window or is_first):
        return None
    strict = live.window.method.strict
    prices = [[np.nan] * len(series.symbols) if strict and row[5] else row[3] or [row[1], row[2]] for row in rows]
    live.window.prices = np.array(prices, dtype=np.float64)
    live.window.spreads = np.array([np.nan if row[4] is None else row[4] for row in rows])
    live.window.starts_us = np.array(made, dtype=np.int64)
    live.window.filter_state = rows[-1][6]
    for leg, closed_us in zip(legs.legs, closed, strict=True):
        leg.closed_us = closed_us
    return live


def _read_bars(cursor: Cursor, live: LiveSeries, since_us: int, closed: Sequence[int]) -> None:
    length_us = timeframe_us(live.key.timeframe)
    for leg, symbol, closed_us in zip(live.legs.legs, live.series.symbols, closed, strict=True):
        leg.closed_us = closed_us
        for bar in leg_bars(cursor, symbol, live.key.timeframe, since_us, closed_us - length_us + 1):
            leg.add(bar)


def _has_more_bars(cursor: Cursor, series: Series, last_us: int) -> bool:
    for symbol in series.symbols:
        cursor.execute(_HOLDS_MORE, (symbol, series.key.timeframe, last_us, CATCH_UP_BARS))
        row = cursor.fetchone()
        if row and row[0]:
            return True
    return False


class Block:
    """Slots for series of one timeframe, window and method: their rows of one time are computed together."""

    def __init__(self, key: SeriesKey) -> None:
        self.method, self.rolling = PairMethod.parse(key.method), Rolling(PairMethod.parse(key.method), key.window, _BLOCK_SLOTS)
        self._free = list(range(_BLOCK_SLOTS))[::-1]

    def take(self, live: LiveSeries) -> None:
        """Give a series a slot."""
        if not self._free:
            self._free = list(range(2 * self.rolling.capacity - 1, self.rolling.capacity - 1, -1))
            self.rolling.grow(2 * self.rolling.capacity)
        live.block, live.slot = self, self._free.pop()
        window = live.window
        y, x = window.prices.T
        self.rolling.load(live.slot, y, x, window.spreads, window.starts_us, window.filter_state)

    def release(self, live: LiveSeries) -> None:
        """Its slot is free again."""
        self._free.append(live.slot)
        live.block, live.slot = None, -1

    def extend(self, members: Sequence[tuple[LiveSeries, Sequence[Row]]]) -> dict[LiveSeries, list[Values]]:
        """Statistics of the new rows of each series."""
        made: dict[LiveSeries, list[Values]] = {live: [] for live, _ in members}
        for number in range(max(len(rows) for _, rows in members)):
            taking = [(live, rows[number]) for live, rows in members if len(rows) > number]
            prices = np.concatenate([prices_of([row], self.method.strict) for _, row in taking])
            starts_us = np.array([row.start_us for _, row in taking], dtype=np.int64)
            slots = np.array([live.slot for live, _ in taking])
            found, states = self.rolling.step(slots, prices[:, 0], prices[:, 1], starts_us)
            lines = zip(taking, found.rows(), state_rows(states, len(taking)), strict=True)
            for (live, _), statistics, state in lines:
                made[live].append(Values(statistics, None, state))
        return made
