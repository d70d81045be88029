"""What the aggregator has not read or no longer counts on, because Redis lost it first: its ranges are marked dirty."""

from collections import defaultdict

import numpy as np
import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from common.columns import Columns, read_entries
from common.database import transaction
from common.judge import Limits
from common.settings import Settings
from common.streams import START, EntryId, read_range
from common.trades import US_PER_DAY

_MARK = """INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
VALUES %s"""
_CHUNK = 200
#: First and last stamp, us, by symbol and UTC day.
Ranges = dict[tuple[str, int], tuple[int, int]]


def mark_what_bars_missed(
    settings: Settings, client: redis.Redis, connection: Connection, stream: str, after: EntryId, ticks: EntryId
) -> None:
    """Mark the days and stamps of every entry in `(after, ticks]`."""
    limits = Limits.of(settings)
    ranges: Ranges = {}
    while entries := read_range(client, stream, after, ticks, _CHUNK):
        widen(ranges, read_entries(entries, limits).columns)
        after = entries[-1].id
    with transaction(connection), connection.cursor() as cursor:
        mark_ranges(cursor, ranges, stream, ticks, "trimmed unread")


def mark_ranges(cursor: Cursor, ranges: Ranges, stream: str, entry: EntryId, reason: str) -> None:
    """Mark them, to be rebuilt once the writers have passed the entry."""
    marks = [(symbol, *span, stream, entry.ms, entry.seq, reason, True) for (symbol, _), span in ranges.items()]
    if marks:
        execute_values(cursor, _MARK, marks)


class Forgotten:
    """What was stored and could not be acknowledged: Redis was flushed, say, while a transaction was under way.

    The aggregator has found nothing unread then and nothing pending, has taken everything for stored, and its bars may have been
    rebuilt before the commit. Kept until it is marked: PostgreSQL may be away next.
    """

    def __init__(self) -> None:
        self._by_stream: defaultdict[str, Ranges] = defaultdict(dict)

    def note(self, stream: str, columns: Columns) -> None:
        """These trades are stored, and Redis does not know of it."""
        if len(columns):
            widen(self._by_stream[stream], columns)

    def mark(self, connection: Connection) -> None:
        """Mark what was noted since the last call.

        Raises:
            psycopg2.Error: nothing was marked, all of it is kept.
        """
        if not self._by_stream:
            return
        with transaction(connection), connection.cursor() as cursor:
            for stream, ranges in self._by_stream.items():
                mark_ranges(cursor, ranges, stream, START, "stored, and forgotten by Redis")
        self._by_stream.clear()


def widen(ranges: Ranges, columns: Columns) -> None:
    """Stretch the (first, last) stamps of each (symbol, UTC day) over these trades."""
    days = columns.event_us // US_PER_DAY
    for code, day in np.unique(np.stack([columns.symbol, days]), axis=1).T:
        stamps = columns.event_us[(columns.symbol == code) & (days == day)]
        key = (columns.symbols[code], int(day))
        first, last = ranges.get(key, (2**62, 0))
        ranges[key] = (min(first, int(stamps.min())), max(last, int(stamps.max())))
