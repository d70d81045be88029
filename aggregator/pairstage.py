"""The pair stage: closed bars in, rows of `spread_analytics` out, in the aggregator's transaction.

Which series are live is in the table `pair_series`; a change there is noticed at the next commit. Its memory is the rows
themselves: a series starts from its last window of them and the bars since, so start, resume and reload are one path.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from aggregator.core import Closed
from aggregator.legs import LegBar, Row
from aggregator.pairbook import EVER_US, leg_bars, made_of
from aggregator.pairlive import Block, LiveSeries, start_series
from aggregator.pairmath import NAMES
from aggregator.pairrows import Made, insert_again, insert_rows, last_kept_us, staged_revisions
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.pairseries import Series, SeriesKey, live_series, seed, version
from common.settings import Settings
from common.streams import shard_of
from common.timeframes import timeframe_us

#: Held shared by whoever adds pair rows, alone by whoever recomputes what they stand on.
ROWS_LOCK = 0x6765_6D73_0003
#: Seconds of a commit that series may take to start; those that are left start with the next one.
START_BUDGET_S = 0.2
#: Rows of one series in one commit at most: a series that has missed much does not hold up the others.
ROWS_A_STEP = 500
#: Seconds until a series that waits for a task is tried again.
TRY_AGAIN_S = 2.0
_COMMITTED_WATERMARKS = """
SELECT key, max(value::bigint) FROM checkpoints, jsonb_each_text(watermarks) WHERE key = ANY(%s) GROUP BY key
"""


class PairStage:
    """All live series whose y is of a shard. A leg of another shard comes from what that shard has committed."""

    def __init__(self, settings: Settings, shard: int) -> None:
        self._settings, self._shard = settings, shard
        self._version = -1
        self._live: dict[SeriesKey, LiveSeries] = {}
        self._pending: dict[SeriesKey, tuple[float, Series]] = {}
        self._by_symbol: dict[tuple[str, str], dict[SeriesKey, tuple[LiveSeries, int]]] = {}
        self._blocks: dict[tuple[str, int, str], Block] = {}
        self._waiting: dict[SeriesKey, LiveSeries] = {}
        self._kept_us: dict[SeriesKey, int] = {}  # rows up to there may have been there before; gone once a series is past it
        self._foreign_us: dict[tuple[str, str], int] = {}

    def load(self, cursor: Cursor) -> None:
        """Make the registry say what the settings say, and forget all series: they start with the next steps."""
        seed(cursor, self._settings)
        for live in list(self._live.values()):
            self._drop(live)
        self._pending, self._foreign_us, self._version = {}, {}, -1

    def reload(self, changed: Iterable[tuple[str, str]]) -> None:
        """Bars or rows of these (symbol, timeframe) were rebuilt: their series start again before they make another row."""
        found = {key: live for at in changed for key, (live, _) in self._by_symbol.get(at, {}).items()}
        for key, live in found.items():
            self._drop(live)
            self._pending[key] = (0.0, live.series)

    def step(
        self, cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Take the bars that have closed, write the rows they complete.

        Answers the rows as live events tell them, and for each new series the range that was filled from its past.
        """
        self._look(cursor)
        for timeframe, bars in closed.items():
            self._give(timeframe, bars, symbols)
        self._give_foreign(cursor)
        started = self._start_pending(cursor, symbols)
        fills = [_split(live, closed) for live in started if live.filled]
        made = self._rows(symbols)
        revisions = self._write(cursor, [*(one for fill in fills for part in fill for one in part), *made])
        rows = [*(one for _, new in fills for one in new), *made]
        told = [_event(one, revisions.get((one.key, one.row.start_us), 0)) for one in rows]
        return told, [_fill_event(past) for past, _ in fills if past]

    def _look(self, cursor: Cursor) -> None:
        """Notice series that were added or removed."""
        found = version(cursor)
        if found == self._version:
            return
        self._version = found
        wanted = {
            series.key: series for series in live_series(cursor)
            if self._is_ours(series.symbols[0]) and series.key.timeframe in self._settings.timeframes
        }  # fmt: skip
        for key in [key for key in self._live if key not in wanted]:
            self._drop(self._live[key])
        self._pending = {key: entry for key, entry in self._pending.items() if key in wanted}
        for key, series in wanted.items():
            if key not in self._live:
                self._pending.setdefault(key, (0.0, series))

    def _start_pending(self, cursor: Cursor, symbols: Symbols) -> list[LiveSeries]:
        """Start what waits, within the time there is; answers what has started."""
        until_s = time.monotonic() + START_BUDGET_S
        started = []
        for key, (due_s, series) in list(self._pending.items()):
            if time.monotonic() < due_s:
                continue
            live = start_series(cursor, self._settings, series, self._closed_us(cursor, series, symbols))
            if live is None:
                self._pending[key] = (time.monotonic() + TRY_AGAIN_S, series)
            else:
                del self._pending[key]
                started.append(live)
                self._add(live)
                if (kept_us := last_kept_us(cursor, series.key)) is not None:
                    self._kept_us[series.key] = kept_us
            if time.monotonic() > until_s:
                break
        return started

    def _closed_us(self, cursor: Cursor, series: Series, symbols: Symbols) -> dict[str, int]:
        """Watermarks of the legs: ours as this transaction has closed them, others' as they were committed."""
        ours = {symbol: code for symbol in series.symbols if (code := symbols.codes.get(symbol)) is not None}
        closed = {symbol: int(symbols.watermark_us[code]) for symbol, code in ours.items()}
        foreign = [symbol for symbol in series.symbols if not self._is_ours(symbol)]
        return {**closed, **_committed(cursor, foreign)}

    def _add(self, live: LiveSeries) -> None:
        key = live.key
        self._live[key] = live
        if len(live.series.symbols) == 2:
            self._blocks.setdefault(key[1:], Block(key)).take(live)
        for leg, symbol in enumerate(live.series.symbols):
            self._by_symbol.setdefault((symbol, key.timeframe), {})[key] = (live, leg)
            if not self._is_ours(symbol):
                self._foreign_us.setdefault((symbol, key.timeframe), live.legs.legs[leg].closed_us)
        if live.legs.is_waiting:
            self._waiting[key] = live

    def _drop(self, live: LiveSeries) -> None:
        del self._live[live.key]
        self._kept_us.pop(live.key, None)
        self._waiting.pop(live.key, None)
        if live.block:
            live.block.release(live)
        for symbol in live.series.symbols:
            at = (symbol, live.key.timeframe)
            self._by_symbol[at].pop(live.key, None)
            if not self._by_symbol[at]:
                del self._by_symbol[at]
                self._foreign_us.pop(at, None)

    def _give(self, timeframe: str, closed: Closed, symbols: Symbols) -> None:
        bars = closed.bars
        for row, code in enumerate(bars.symbol.tolist()):
            taking = self._by_symbol.get((symbols.names[code], timeframe))
            if taking:
                scale, whole = int(symbols.price_scale[code]), int(bars.close[row])
                bar = LegBar(int(bars.start_us[row]), f"{whole}e-{scale}", whole / 10**scale, closed.status[row] == "gap")
                self._hand(taking.values(), bar)

    def _give_foreign(self, cursor: Cursor) -> None:
        """The bars that other shards have closed since: their watermarks first, so that all bars up to them are there."""
        if not self._foreign_us:
            return
        committed = _committed(cursor, {symbol for symbol, _ in self._foreign_us})
        for (symbol, timeframe), since_us in list(self._foreign_us.items()):
            closed_us, length_us = committed.get(symbol, -1), timeframe_us(timeframe)
            if closed_us > since_us:
                taking = self._by_symbol[symbol, timeframe].values()
                for bar in leg_bars(cursor, symbol, timeframe, since_us - length_us + 1, closed_us - length_us + 1):
                    self._hand(taking, bar)
                for live, leg in taking:
                    live.legs.legs[leg].closed_us = max(live.legs.legs[leg].closed_us, closed_us)
                    self._waiting.setdefault(live.key, live)
                self._foreign_us[symbol, timeframe] = closed_us

    def _hand(self, taking: Iterable[tuple[LiveSeries, int]], bar: LegBar) -> None:
        for live, leg in taking:
            live.legs.legs[leg].add(bar)
            self._waiting[live.key] = live

    def _rows(self, symbols: Symbols) -> list[Made]:
        """The rows that the bars complete, oldest first in each series."""
        by_block: dict[Block | None, list[tuple[LiveSeries, list[Row]]]] = {}
        for live in list(self._waiting.values()):
            for leg, symbol in zip(live.legs.legs, live.series.symbols, strict=True):
                code = symbols.codes.get(symbol)
                leg.closed_us = max(leg.closed_us, int(symbols.watermark_us[code])) if code is not None else leg.closed_us
            rows = live.legs.rows(ROWS_A_STEP)
            if not live.legs.is_waiting:
                del self._waiting[live.key]
            if rows:
                by_block.setdefault(live.block, []).append((live, rows))
        made: list[Made] = []
        for block, members in by_block.items():
            values = block.extend(members) if block else {live: live.window.extend(rows) for live, rows in members}
            for live, rows in members:
                block_us = timeframe_us(live.key.timeframe) * self._settings.coint_every_bars
                made += made_of(live.key, rows, values[live], block_us)
        return made

    def _write(self, cursor: Cursor, made: Sequence[Made]) -> Mapping[tuple[SeriesKey, int], int]:
        """Write rows; answers the revisions of those that may have been there before. Only theirs are looked for: a series at
        its end makes rows that never were.
        """
        if not self._kept_us:
            insert_rows(cursor, made)
            return {}
        again = [one for one in made if one.row.start_us <= self._kept_us.get(one.key, -1)]
        new = [one for one in made if one.row.start_us > self._kept_us.get(one.key, -1)]
        if again:
            insert_again(cursor, again)
        revisions = staged_revisions(cursor) if again else {}
        insert_rows(cursor, new)
        for one in new:
            self._kept_us.pop(one.key, None)
        return revisions

    def _is_ours(self, symbol: str) -> bool:
        return shard_of(symbol, self._settings.shards) == self._shard


def _split(live: LiveSeries, closed: Mapping[str, Closed]) -> tuple[list[Made], list[Made]]:
    """Rows that a start made: the past of a new series; and the new ones, of this step's bars or after its last row."""
    bars = closed[live.key.timeframe].bars.start_us if live.key.timeframe in closed else ()
    since_us = min([int(us) for us in bars], default=EVER_US)
    since_us = min(since_us, EVER_US if live.told_us is None else live.told_us + 1)
    past = [made for made in live.filled if made.row.start_us < since_us]
    return past, list(live.filled[len(past) :])


def _committed(cursor: Cursor, symbols: Collection[str]) -> dict[str, int]:
    if not symbols:
        return {}
    cursor.execute(_COMMITTED_WATERMARKS, (list(symbols),))
    return dict(cursor.fetchall())


def _named(key: SeriesKey) -> dict[str, Any]:
    return {"symbol_pair": key.pair, "timeframe": key.timeframe, "window": key.window, "method": key.method}


def _event(made: Made, revision: int) -> dict[str, Any]:
    row, values = made.row, made.values
    vectors = {"hedge_ratios": values.hedge_ratios, "leg_prices": [leg.close for leg in row.legs]} if len(row.legs) > 2 else {}
    return {
        **_named(made.key), "timestamp": iso_us(row.start_us), "symbol1_price": row.y.close, "symbol2_price": row.x.close,
        **dict(zip(NAMES, values.statistics, strict=True)), **vectors,
        "carried": row.carried, "has_gap": row.has_gap, "revision": revision,
    }  # fmt: skip


def _fill_event(fill: Sequence[Made]) -> dict[str, Any]:
    """The past of a new series, as `spread.revised` tells of rows that are best read again."""
    told = {"changed": len(fill), "from": iso_us(fill[0].row.start_us), "to": iso_us(fill[-1].row.start_us)}
    return {**_named(fill[0].key), **told}
