"""What the aggregator will never read, because memory ran out first: its ranges are marked dirty before it is trimmed."""

import numpy as np
import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.columns import Columns, read_entries
from common.database import transaction
from common.judge import Limits
from common.settings import Settings
from common.streams import EntryId, read_range
from common.trades import US_PER_DAY

_MARK = """INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
VALUES %s"""
_CHUNK = 200


def mark_what_bars_missed(
    settings: Settings, client: redis.Redis, connection: Connection, stream: str, after: EntryId, ticks: EntryId
) -> None:
    """Mark the days and stamps of every entry in `(after, ticks]`."""
    limits = Limits.of(settings)
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    while entries := read_range(client, stream, after, ticks, _CHUNK):
        widen(ranges, read_entries(entries, limits).columns)
        after = entries[-1].id
    marks = [(symbol, *span, stream, ticks.ms, ticks.seq, "trimmed unread", True) for (symbol, _), span in ranges.items()]
    if marks:
        with transaction(connection), connection.cursor() as cursor:
            execute_values(cursor, _MARK, marks)


def widen(ranges: dict[tuple[str, int], tuple[int, int]], columns: Columns) -> None:
    """Stretch the (first, last) stamps of each (symbol, UTC day) over these trades."""
    days = columns.event_us // US_PER_DAY
    for code, day in np.unique(np.stack([columns.symbol, days]), axis=1).T:
        stamps = columns.event_us[(columns.symbol == code) & (days == day)]
        key = (columns.symbols[code], int(day))
        first, last = ranges.get(key, (2**62, 0))
        ranges[key] = (min(first, int(stamps.min())), max(last, int(stamps.max())))
