"""Tasks that a person or an API call asks for: bars, pair rows and statistics over what is stored."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from aggregator.barstore import BarLeaves
from aggregator.marks import kept_span
from aggregator.pairbook import Written, compute_series
from aggregator.rebuild import Span, rebuild
from aggregator.revised import follow_up, revised_event
from aggregator.scan import scan
from aggregator.statbook import StatsKey, compute_stats
from common.database import transaction
from common.events import publish
from common.pairseries import note, series_of_task
from common.partitions import leaf_ranges
from common.settings import Settings
from common.tasks import Task, tell_progress
from common.trades import US_PER_DAY, from_us, to_us
from common.view import committed_view

Counts = dict[str, Any]
_SPAN = """
SELECT min(timestamp), max(timestamp) FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s
    AND timestamp >= %(first)s AND (%(end)s::timestamptz IS NULL OR timestamp < %(end)s)
"""
WAIT_STORED_S = 60.0


class Computer:
    """Runs tasks on one session."""

    def __init__(
        self, settings: Settings, client: redis.Redis, connection: Connection, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._client, self._connection, self._leaves = settings, client, connection, BarLeaves()
        self._pause = pause  # called between pieces of a long task, outside of any transaction
        self._kinds: dict[str, Callable[[Task], Counts]] = {"bars": self._bars, "spread": self._spread, "stats": self._stats}
        self._kinds["scan"] = lambda task: scan(settings, connection, task, pause)

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
        """Compute a symbol's statistics over a range of stored bars; goes on where an earlier attempt stopped."""
        params, earlier = task.params, task.counts
        key = StatsKey(params["symbol"], params["timeframe"], int(params.get("window", self._settings.stats_window)))
        first_us, end_us = params.get("start_us", 0), params.get("end_us")
        begun_us = earlier.get("done_us", first_us)
        counts: Counts = {"rows": earlier.get("rows", 0), "changed": earlier.get("changed", 0)}
        final, span = counts, self._stored_span(key, first_us, end_us)
        for written in compute_stats(self._connection, self._leaves, key, begun_us, end_us) if span else ():
            final = {"rows": counts["rows"] + written.rows, "changed": counts["changed"] + written.changed}
            done = min(1.0, max(0.0, (written.done_us - span[0]) / (span[1] - span[0]))) if span else 1.0
            tell_progress(self._connection, task.task_id, done, {**final, "done_us": written.done_us})
            self._pause()
        return final

    def _stored_span(self, key: StatsKey, first_us: int, end_us: int | None) -> tuple[int, int] | None:
        """Start of the first bar of the range and a moment after the last; None without one."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_SPAN, {**key._asdict(), "first": from_us(first_us), "end": from_us(end_us) if end_us else None})
            first, last = cursor.fetchone()  # type: ignore[misc]
        return (to_us(first), to_us(last) + 1) if first else None


def _days(first: date, end: date) -> list[int]:
    """UTC days since 1970 in `[first, end)`."""
    epoch = date(1970, 1, 1)
    return [(first + timedelta(days=offset) - epoch).days for offset in range((end - first).days)]
