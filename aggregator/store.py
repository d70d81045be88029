"""The aggregator's one transaction: marks, holes, bars, pair rows, alerts and the checkpoint, together or not at all."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator import barstore, checkpoint
from aggregator.alerting.stage import AlertStage, Step
from aggregator.core import Core, Mark, Outcome
from aggregator.events import closed_events
from aggregator.intervals import Hole, Interval
from aggregator.pairstage import ROWS_LOCK, PairStage
from aggregator.statstage import StatStage
from aggregator.unstored import NEVER_US
from common.database import transaction
from common.events import Event
from common.gaps import Gap, cut, missing_pieces
from common.partitions import leaf_ranges
from common.settings import Settings
from common.streams import EntryId, stream_names, stream_of
from common.trades import US_PER_DAY, from_us

_MARK = "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason) VALUES %s"
_HOLE = "INSERT INTO gaps (symbol, first_id, last_id, from_us, to_us) VALUES %s ON CONFLICT DO NOTHING"
_STORED_DAYS = """
SELECT symbol, (extract(epoch FROM min(timestamp)) * 1000000)::bigint, (extract(epoch FROM max(timestamp)) * 1000000)::bigint
FROM raw_ticks GROUP BY symbol, (timestamp AT TIME ZONE 'UTC')::date
"""
_STORED_AFTER = """
SELECT EXISTS (SELECT 1 FROM writer_positions w, checkpoints c WHERE w.stream = %s AND c.shard = %s
    AND length(c.state) > 0 AND (w.position_ms, w.position_seq) > (c.position_ms, c.position_seq))
"""
#: Days on which a symbol has another number of ticks than its bars say.
_MARK_DIFFERING = """
WITH ticks AS (
    SELECT symbol, count(*) AS n, min(timestamp) AS first, max(timestamp) AS last FROM raw_ticks
    WHERE timestamp >= %(first)s AND timestamp < %(end)s GROUP BY symbol),
bars AS (
    SELECT symbol, sum(tick_count) AS n FROM processed_bars
    WHERE timeframe = %(timeframe)s AND timestamp >= %(first)s AND timestamp < %(end)s GROUP BY symbol)
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
SELECT symbol, (extract(epoch FROM first) * 1000000)::bigint, (extract(epoch FROM last) * 1000000)::bigint,
    %(stream)s, 0, 0, 'other counts than the ticks', true
FROM ticks LEFT JOIN bars USING (symbol) WHERE ticks.n IS DISTINCT FROM bars.n
"""
_LAST_BEFORE = """
SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint FROM raw_ticks
WHERE symbol = %(symbol)s AND trade_id BETWEEN %(low)s AND %(high)s AND timestamp >= %(start)s AND timestamp < %(since)s
ORDER BY trade_id DESC LIMIT 1
"""
_NAMED = """
SELECT symbol, first_id, last_id, from_us, to_us FROM gaps
WHERE symbol = %s AND state <> 'closed' AND first_id <= %s AND last_id >= %s AND from_us <= %s AND to_us >= %s ORDER BY first_id
"""
_STORED_UP_TO = """
SELECT coalesce(greatest(min(position_ms), max(position_ms) - %s), 0) FROM writer_positions WHERE stream = %s
"""
_HELD_MS = 1_800_000
_RELOADS = "DELETE FROM pair_reloads WHERE symbol = ANY(%s) RETURNING symbol, timeframe"


def _lost_of(cursor: Cursor, name: str, seen: Interval, since_us: int) -> list[Hole]:
    """Ids of one interval that are not stored.

    One that began earlier is cut at the last stored before then, not to look at a whole day; one that began later may lack its
    first ids.
    """
    first_id, first_us = seen.low, seen.low_us
    if first_us < since_us:
        start_us = seen.low_us - seen.low_us % US_PER_DAY
        cursor.execute(_LAST_BEFORE, {
            "symbol": name, "low": seen.low, "high": seen.high, "start": from_us(start_us), "since": from_us(since_us),
        })  # fmt: skip
        first_id, first_us = cursor.fetchone() or (first_id, first_us)
    gap = Gap(name, first_id, seen.high, first_us, seen.high_us)
    pieces = missing_pieces(cursor, gap, min(first_us, seen.high_us), max(first_us, seen.high_us))
    return [Hole(*rest[1:]) for piece in pieces for rest in _unnamed(cursor, piece)]


def _unnamed(cursor: Cursor, gap: Gap) -> list[Gap]:
    """The parts of a gap that no open or lost one of its day names: an id is missing once, however often it was seen."""
    stamps = gap.to_us + US_PER_DAY, gap.from_us - US_PER_DAY
    cursor.execute(_NAMED, (gap.symbol, gap.last_id, gap.first_id, *stamps))
    parts = [gap]
    for named in (Gap(symbol, int(first_id), int(last_id), *ends) for symbol, first_id, last_id, *ends in cursor.fetchall()):
        parts = [rest for part in parts for rest in _without(part, named)]
    return parts


def _without(gap: Gap, named: Gap) -> list[Gap]:
    if named.first_id > gap.last_id or named.last_id < gap.first_id:
        return [gap]
    return [part for part, state in cut(gap, named) if state == "open"]


class BarsStore:
    """Commits what the core decided, under the owner's token."""

    def __init__(self, settings: Settings, connection: Connection, shard: int, core: Core) -> None:
        self._settings, self._connection, self._shard, self._core = settings, connection, shard, core
        self._stream = stream_names(settings)[shard]
        self._pairs = PairStage(settings, shard)
        self._stats = StatStage(settings)
        self._alerts = AlertStage(settings, shard)
        self._leaves = barstore.BarLeaves()
        self._token = 0
        self.run_id = ""

    def take_over(self) -> checkpoint.Checkpoint:
        """Become the owner; answers what the last one left."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            found = checkpoint.take_over(cursor, self._shard)
        self._token = found.token
        return found

    def load_pairs(self) -> None:
        """Read the pair series' windows and the alert rules as they are stored."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            self._pairs.load(cursor)
            self._alerts.load(cursor, self._core.arrived_ms())
        self._core.watched = self._alerts.watched

    def mark_everything(self, reason: str) -> int:
        """Mark all stored ticks of this shard's symbols dirty, day by day: some of their bars nobody built. Answers how many."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_STORED_DAYS)
            days = [row for row in cursor.fetchall() if stream_of(row[0], self._settings.shards) == self._stream]
            if days:
                execute_values(cursor, _MARK, [(*day, self._stream, 0, 0, reason) for day in days])
            return len(days)

    def writers_were_ahead(self) -> bool:
        """True if a writer has stored entries after our position: only then can the stream have lost what bars still need.

        False before the first checkpoint: then all that is stored is marked anyway.
        """
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_STORED_AFTER, (self._stream, self._shard))
            row = cursor.fetchone()
        return bool(row and row[0])

    def stored_since_us(self, back_us: int) -> int:
        """Event time that is safely before the first trade that no writer had stored yet.

        Entries that a slow or dead worker holds lie behind the position of the others: half an hour at most, by then they are
        claimed.
        """
        watermarks = [us for us in self._core.watermarks().values() if us > 0]
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_STORED_UP_TO, (_HELD_MS, self._stream))
            row = cursor.fetchone()
        return max(0, min([*watermarks, int(row[0]) * 1000 if row else 0]) - back_us)

    def lost_ids(self, since_us: int | None) -> list[tuple[str, Hole]]:
        """Ids that the core has seen, of trades stamped after that (None: in any that it remembers), and that are neither stored
        nor named by a gap.

        On a day of which the core has read trades that may not be stored, from the first of them on, if that is earlier. Of
        symbols whose ids follow on each other only.
        """
        symbols, lost = self._core.symbols, list[tuple[str, Hole]]()
        feared_us = symbols.unstored.doubted.first_by_day()
        with transaction(self._connection), self._connection.cursor() as cursor:
            for code, name in enumerate(symbols.names):
                for seen in [] if symbols.loose_ids[code] else symbols.seen[code].intervals:
                    first_us = min(since_us or 0, feared_us.get((code, seen.day), NEVER_US))
                    if seen.high_us >= first_us and seen.high >= 0:
                        lost += [(name, hole) for hole in _lost_of(cursor, name, seen, first_us)]
        return lost

    def mark_differing_days(self) -> int:
        """Mark the days, newest first, on which a symbol's bars do not add up to its ticks; answers how many."""
        marked = 0
        with transaction(self._connection), self._connection.cursor() as cursor:
            ranges = leaf_ranges(cursor, "raw_ticks")
        days = [first + timedelta(days=offset) for first, end in ranges for offset in range((end - first).days)]
        for day in sorted(days, reverse=True):
            with transaction(self._connection), self._connection.cursor() as cursor:
                bounds = {"first": f"{day}T00:00:00Z", "end": f"{day + timedelta(days=1)}T00:00:00Z"}
                timeframe = self._settings.timeframes[0]
                cursor.execute(_MARK_DIFFERING, {**bounds, "timeframe": timeframe, "stream": self._stream})
                marked += cursor.rowcount
        return marked

    def commit(self, outcome: Outcome, position: EntryId) -> tuple[list[Event], int]:
        """Write an outcome and the position after it; answers the events to publish and how many bars are new.

        Raises:
            Fenced: another owner has taken over; nothing was written.
        """
        closed = outcome.closed
        self._leaves.ensure(self._connection, [int(us) for rows in closed.values() for us in rows.bars.start_us])
        with transaction(self._connection), self._connection.cursor() as cursor:
            self._mark(cursor, outcome.marks, outcome.holes, position)
            events: list[Event] = []
            if closed:
                barstore.stage(cursor, closed, self._core.symbols)
                settled = None if barstore.settle_new(cursor) else barstore.settle(cursor)
                events = closed_events(closed, settled, self._core.symbols)
            bars = sum(event.event == "bar" for event in events)
            self._reload_pairs(cursor)
            self._stats.step(cursor, closed, self._core.symbols)
            rows, filled = self._pairs.step(cursor, closed, self._core.symbols)
            events += [Event("spread", row) for row in rows]
            events += [Event("alert", alert) for alert in self._look_at_alerts(cursor, outcome, events)]
            events += [Event("spread.revised", past) for past in filled]
            checkpoint.save(
                cursor, self._shard, self._token, position, self.run_id, self._core, events, bars, outcome.late
            )
        return events, bars

    def _look_at_alerts(self, cursor: Cursor, outcome: Outcome, events: Sequence[Event]) -> list[dict[str, Any]]:
        core = self._core
        arrivals, arrived_ms = core.take_arrivals(), core.arrived_ms() if core.watched else {}
        alerts = self._alerts.step(cursor, Step(events, outcome.holes, outcome.now_ms, arrivals, arrived_ms))
        core.watched = self._alerts.watched
        return alerts

    def _mark(
        self, cursor: Cursor, marks: Sequence[Mark], holes: Sequence[tuple[str, Hole]], position: EntryId
    ) -> None:
        if marks:
            rows = [(m.symbol, m.first_us, m.last_us, self._stream, position.ms, position.seq, m.reason) for m in marks]
            execute_values(cursor, _MARK, rows)
        if holes:
            execute_values(cursor, _HOLE, [(symbol, *hole) for symbol, hole in holes])

    def _reload_pairs(self, cursor: Cursor) -> None:
        """Bars or rows of a series were rebuilt: read its window again, so that the rows to come stand on what is stored."""
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (ROWS_LOCK,))
        cursor.execute(_RELOADS, (self._core.symbols.names,))
        reloads = cursor.fetchall()
        self._pairs.reload(reloads)
        self._stats.reload(reloads)
