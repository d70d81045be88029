"""Tasks that a person or an API call asks for: bars, pair rows and statistics over what is stored."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np
import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from aggregator.barstore import BarLeaves
from aggregator.marks import kept_span
from aggregator.pairbook import Written, compute_series
from aggregator.pricestats import price_statistics
from aggregator.rebuild import Span, rebuild
from aggregator.revised import follow_up, revised_event
from common.database import transaction
from common.events import publish
from common.pairseries import note, series_of_task
from common.partitions import leaf_ranges
from common.settings import Settings
from common.tasks import Task, tell_progress
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us
from common.view import committed_view

Counts = dict[str, Any]
STATS_WINDOW = 20
WAIT_STORED_S = 60.0
_STATS_BARS = """
SELECT timestamp, open, high, low, close, volume FROM processed_bars
WHERE symbol = %s AND timeframe = %s AND timestamp < %s ORDER BY timestamp
"""
_STATS = """
INSERT INTO price_stats (symbol, timeframe, window_bars, timestamp, returns, volatility, volume_ma, price_change_pct,
    high_low_range)
VALUES %s ON CONFLICT (symbol, timeframe, window_bars, timestamp) DO UPDATE SET returns = excluded.returns,
    volatility = excluded.volatility, volume_ma = excluded.volume_ma, price_change_pct = excluded.price_change_pct,
    high_low_range = excluded.high_low_range
"""


class Computer:
    """Runs tasks on one session."""

    def __init__(
        self, settings: Settings, client: redis.Redis, connection: Connection, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._client, self._connection, self._leaves = settings, client, connection, BarLeaves()
        self._pause = pause  # called between pieces of a long task, outside of any transaction
        self._kinds: dict[str, Callable[[Task], Counts]] = {"bars": self._bars, "spread": self._spread, "stats": self._stats}

    @property
    def kinds(self) -> list[str]:
        """Kinds of tasks done here."""
        return list(self._kinds)

    def run(self, task: Task) -> Counts:
        """Do a task; answers its counts."""
        return self._kinds[task.kind](task)

    def _bars(self, task: Task) -> Counts:
        """Rebuild a symbol's closed bars from all its ticks, day by day, newest first."""
        symbol, timeframe = task.params["symbol"], task.params["timeframe"]
        first_us, last_us = task.params.get("start_us", 0), task.params.get("end_us", 2**62)
        with transaction(self._connection), self._connection.cursor() as cursor:
            view = committed_view(cursor, self._settings)
            ranges = leaf_ranges(cursor, "raw_ticks")
        view.wait_stored(self._client, WAIT_STORED_S)
        closed_us = view.closed_us(symbol)
        stored = [day for first, end in ranges for day in _days(first, end)]
        days = [day for day in stored if first_us < (day + 1) * US_PER_DAY and day * US_PER_DAY < last_us]
        counts: Counts = {"days": len(days), "bars_changed": 0}
        for done, day in enumerate(sorted(days, reverse=True), 1):
            span = Span(symbol, max(first_us, day * US_PER_DAY), min(last_us, (day + 1) * US_PER_DAY) - 1)
            span = kept_span(self._settings, span)
            if span.first_us <= span.last_us:
                settled = rebuild(self._connection, self._leaves, span, [timeframe], closed_us, self._settings.shards)
                counts["bars_changed"] += len(settled)
                follow_up(self._settings, self._client, self._connection, self._leaves)
            tell_progress(self._connection, task.task_id, done / len(days), counts)
        return counts

    def _spread(self, task: Task) -> Counts:
        """Compute a series over a range of stored bars; with `check`, compare alone."""
        params, check = task.params, bool(task.params.get("check"))
        series = series_of_task(params)
        if not check:
            with transaction(self._connection), self._connection.cursor() as cursor:
                note(cursor, series)

        def between(progress: float, written: Written) -> None:
            tell_progress(self._connection, task.task_id, progress, {"rows": written.rows, "changed": written.changed})
            self._pause()

        first_us, end_us = params.get("start_us"), params.get("end_us")
        last_us = None if end_us is None else end_us - 1
        written = compute_series(
            self._connection, self._leaves, self._settings, series, first_us, last_us, check, pause=between
        )
        counts: Counts = {"rows": written.rows, "changed": written.changed}
        if written.changed and not check:
            publish(self._client, [revised_event(series, written)])
        return {**counts, "examples": written.examples} if check else counts

    def _stats(self, task: Task) -> Counts:
        symbol, timeframe = task.params["symbol"], task.params["timeframe"]
        window = int(task.params.get("window", STATS_WINDOW))
        with transaction(self._connection), self._connection.cursor() as cursor:
            watermark_us = committed_view(cursor, self._settings).closed_us(symbol)
            closed_us = watermark_us - timeframe_us(timeframe) + 1
            cursor.execute(_STATS_BARS, (symbol, timeframe, from_us(max(0, closed_us))))
            bars = cursor.fetchall()
        if not bars:
            return {"rows": 0}
        opens, highs, lows, closes, volumes = np.array([[float(value) for value in row[1:]] for row in bars]).T
        values = price_statistics(opens, highs, lows, closes, volumes, window).rows()
        self._leaves.ensure(self._connection, {to_us(row[0]) for row in bars})
        lines = [(symbol, timeframe, window, row[0], *value) for row, value in zip(bars, values, strict=True)]
        with transaction(self._connection), self._connection.cursor() as cursor:
            execute_values(cursor, _STATS, lines, page_size=5_000)
        return {"rows": len(lines)}


def _days(first: date, end: date) -> list[int]:
    """UTC days since 1970 in `[first, end)`."""
    epoch = date(1970, 1, 1)
    return [(first + timedelta(days=offset) - epoch).days for offset in range((end - first).days)]
