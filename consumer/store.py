"""Rows of the stream into `raw_ticks`: one transaction for many entries, optimistic first.

A plain COPY straight into the table costs half of what a staged insert costs, and repeats are rare: so it is tried under a
savepoint, and only where it meets a repeated trade do the rows go through a staging table with ON CONFLICT DO NOTHING.
"""

import io
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.codec import COLUMNS
from common.columns import Batch, DeadRow
from common.database import blames_a_row, transaction
from common.letters import NewLetter, bury
from common.partitions import ensure_tick_leaves, summarize_tick_leaf
from common.streams import Entry
from common.trades import US_PER_DAY, from_us
from consumer.refused import COPY_STAGED, Refused, RefusedBefore, lacks_a_leaf, stage_or_refuse

_FIELDS = ", ".join(COLUMNS)
_COPY = f"COPY raw_ticks ({_FIELDS}) FROM STDIN (FORMAT csv)"
_STAGE = """CREATE TEMPORARY TABLE IF NOT EXISTS staged
(LIKE raw_ticks, place bigint GENERATED ALWAYS AS IDENTITY) ON COMMIT DELETE ROWS"""
#: Ordered, so that two workers with the same trades wait for each other instead of deadlocking.
_INSERT = f"""INSERT INTO raw_ticks ({_FIELDS}) SELECT {_FIELDS} FROM staged
ORDER BY symbol, trade_id, place ON CONFLICT DO NOTHING"""  # noqa: S608
#: A copy that lost to a stored row with other values: the aggregator may have counted the loser, so its bars are suspect.
_MARK_DIVERGED = """
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
SELECT s.symbol, (extract(epoch FROM min(least(s.timestamp, t.timestamp))) * 1000000)::bigint,
       (extract(epoch FROM max(greatest(s.timestamp, t.timestamp))) * 1000000)::bigint, %s, %s, %s,
       'a copy had other values', true
FROM staged s JOIN raw_ticks t ON t.symbol = s.symbol AND t.trade_id = s.trade_id
    AND t.timestamp >= %s AND t.timestamp < %s
    AND (t.timestamp AT TIME ZONE 'UTC')::date = (s.timestamp AT TIME ZONE 'UTC')::date
WHERE (t.timestamp, t.price, t.size, t.side, t.seq) IS DISTINCT FROM (s.timestamp, s.price, s.size, s.side, s.seq)
GROUP BY s.symbol, (s.timestamp AT TIME ZONE 'UTC')::date
"""
_POSITION = """
INSERT INTO writer_positions AS w (worker, stream, position_ms, position_seq, stored, repeated, dead)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (worker, stream) DO UPDATE SET
    (position_ms, position_seq) = (
        SELECT ms, seq FROM (VALUES (w.position_ms, w.position_seq), (excluded.position_ms, excluded.position_seq)) AS p (ms, seq)
        ORDER BY ms DESC, seq DESC LIMIT 1),
    stored = w.stored + excluded.stored, repeated = w.repeated + excluded.repeated, dead = w.dead + excluded.dead,
    updated_at = now()
RETURNING stored + repeated + dead, (SELECT coalesce(sum(dead), 0) FROM writer_positions)
"""


class Stored(NamedTuple):
    """What became of the rows of one transaction."""

    stored: int
    repeated: int
    dead: int
    of_worker: int = 0  # the worker's rows on this stream, all times


class TickStore:
    """Stores batches of one stream's entries under a worker's name."""

    def __init__(self, connection: Connection, worker: str) -> None:
        self.connection = connection
        self._worker = worker
        self._refused_before = RefusedBefore()
        self._days: set[int] = set()
        self._written_days: set[int] = set()

    def store(self, stream: str, entries: Sequence[Entry], batch: Batch) -> Stored:
        """Store the batch, its dead letters and the worker's position in one transaction.

        Raises:
            psycopg2.Error: nothing was stored; the caller tries again.
        """
        self._ensure_leaves(batch)
        try:
            return self._store(stream, entries, batch)
        except errors.CheckViolation:
            # A leaf was dropped by retention since we looked, or a constraint refuses a row.
            self._days.clear()
            self._ensure_leaves(batch)
            return self._store(stream, entries, batch)

    def summarize(self) -> None:
        """Bring the time index of the leaves written since the last call up to date.

        The server does so by itself about once a minute: until then a query of the newest ticks reads every new page.
        """
        days, self._written_days = self._written_days, set()
        for day in sorted(days):
            summarize_tick_leaf(self.connection, date(1970, 1, 1) + timedelta(days=day))

    def _store(self, stream: str, entries: Sequence[Entry], batch: Batch) -> Stored:
        with transaction(self.connection), self.connection.cursor() as cursor:
            stored, repeated, refused = self._store_rows(cursor, stream, entries, batch)
            dead = batch.dead + [row.dead_row() for row in refused]
            _bury(cursor, stream, entries, dead)
            last = max(entry.id for entry in entries)
            cursor.execute(_POSITION, (self._worker, stream, last.ms, last.seq, stored, repeated, len(dead)))
            row = cursor.fetchone()
            assert row, "an upsert answers a row"
            of_worker, letters = int(row[0]), int(row[1])
            self._refused_before.look(cursor, letters)
            self._refused_before.mark(cursor, batch, stream, last)
        return Stored(stored, repeated, len(dead), of_worker)

    def _store_rows(
        self, cursor: Cursor, stream: str, entries: Sequence[Entry], batch: Batch
    ) -> tuple[int, int, list[Refused]]:
        if not len(batch.columns):
            return 0, 0, []
        cursor.execute("SAVEPOINT direct")
        try:
            cursor.copy_expert(_COPY, io.BytesIO(batch.rows), size=1 << 20)
            return cursor.rowcount, 0, []
        except errors.UniqueViolation:
            pass
        except psycopg2.Error as exc:
            if not blames_a_row(exc) or lacks_a_leaf(exc):
                raise
        cursor.execute("ROLLBACK TO SAVEPOINT direct")
        return self._store_staged(cursor, stream, entries, batch)

    def _store_staged(
        self, cursor: Cursor, stream: str, entries: Sequence[Entry], batch: Batch
    ) -> tuple[int, int, list[Refused]]:
        stored, refused = _insert_staged(cursor, batch)
        last = max(entry.id for entry in entries)
        first_day, last_day = _days_of(batch)
        bounds = (from_us(first_day * US_PER_DAY), from_us((last_day + 1) * US_PER_DAY))
        cursor.execute(_MARK_DIVERGED, (stream, last.ms, last.seq, *bounds))
        for row in refused:
            row.mark(cursor, stream, last)
        return stored, len(batch.columns) - len(refused) - stored, refused

    def _ensure_leaves(self, batch: Batch) -> None:
        if not len(batch.columns):
            return
        first, last = _days_of(batch)
        if first in self._days and first == last:
            self._written_days.add(first)
            return
        days = {int(day) for day in np.unique(batch.columns.event_us // US_PER_DAY)}
        self._written_days |= days
        if not days <= self._days:
            ensure_tick_leaves(self.connection, [date(1970, 1, 1) + timedelta(days=day) for day in days])
            self._days |= days


def _insert_staged(cursor: Cursor, batch: Batch) -> tuple[int, list[Refused]]:
    """Stage all rows and insert those that are new; where the server refuses one, all but that one."""
    cursor.execute(_STAGE)
    cursor.execute("SAVEPOINT staging")
    try:
        cursor.copy_expert(COPY_STAGED, io.BytesIO(batch.rows), size=1 << 20)
        cursor.execute(_INSERT)
        return cursor.rowcount, []
    except psycopg2.Error as exc:
        if not blames_a_row(exc) or lacks_a_leaf(exc):
            raise
    cursor.execute("ROLLBACK TO SAVEPOINT staging")
    refused = stage_or_refuse(cursor, batch)
    cursor.execute(_INSERT)
    return cursor.rowcount, refused


def _days_of(batch: Batch) -> tuple[int, int]:
    stamps = batch.columns.event_us
    return int(stamps.min()) // US_PER_DAY, int(stamps.max()) // US_PER_DAY


def _bury(cursor: Cursor, stream: str, entries: Sequence[Entry], dead: Sequence[DeadRow]) -> None:
    letters = [
        NewLetter(stream, str(entries[row.entry].id), row.row_number, entries[row.entry].src, row.field, row.reason, row.payload)
        for row in dead
    ]
    bury(cursor, letters)
