"""Which marks are due: passed by the writers, settled for a moment, joined by symbol and UTC day."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import redis
from psycopg2.extensions import connection as Connection

from aggregator.barstore import BarLeaves, Settled
from aggregator.rebuild import Span, closed_through, rebuild
from common.database import transaction
from common.settings import Settings
from common.streams import EntryId, stream_names, writers_position
from common.trades import US_PER_DAY, utc_day

#: An import makes marks for as long as it runs: a day's are taken together once none came for a while, or the oldest waited long.
QUIET_S, PATIENCE_S = 0.3, 5.0
MANY = 20_000
_MARKS = """
SELECT id, symbol, first_us, last_us, stream, entry_ms, entry_seq, extract(epoch FROM now() - marked_at)::float
FROM dirty_ranges ORDER BY id LIMIT %s
"""


class Due(NamedTuple):
    """A span to rebuild, and the marks that ask for it."""

    span: Span
    marks: list[int]


class RawMark(NamedTuple):
    """A row of `dirty_ranges`."""

    id: int
    symbol: str
    first_us: int
    last_us: int
    stream: str
    entry: EntryId
    age_s: float


def rebuild_due(settings: Settings, client: redis.Redis, connection: Connection, leaves: BarLeaves) -> list[Settled]:
    """Rebuild what is due; answers the bars that are new or changed."""
    # The positions first: a mark read after them may only be older than they say, never newer.
    passed = {stream: writers_position(client, stream) for stream in stream_names(settings)}
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_MARKS, (MANY,))
        marks = [_mark(*row) for row in cursor.fetchall()]
        due = due_spans(marks, passed)
        closed = closed_through(cursor, sorted({each.span.symbol for each in due}))
    settled: list[Settled] = []
    for each in due:
        closed_us = closed.get(each.span.symbol, 0)
        settled += rebuild(connection, leaves, kept_span(settings, each.span), settings.timeframes, closed_us, each.marks)
    return settled


def kept_span(settings: Settings, span: Span) -> Span:
    """The part of a span whose ticks retention has kept: a day that it may have dropped is never rebuilt."""
    if not settings.tick_retention_days:
        return span
    oldest_day = utc_day(int(time.time()) * 1_000_000) - settings.tick_retention_days
    return span._replace(first_us=max(span.first_us, oldest_day * US_PER_DAY))


def _mark(
    mark_id: int, symbol: str, first_us: int, last_us: int, stream: str, entry_ms: int, entry_seq: int, age_s: float
) -> RawMark:
    return RawMark(mark_id, symbol, first_us, last_us, stream, EntryId(entry_ms, int(entry_seq)), age_s)


def due_spans(marks: Sequence[RawMark], passed: Mapping[str, EntryId | None]) -> list[Due]:
    """Joined marks, by symbol and day, whose entries the writers have all passed."""
    groups: dict[tuple[str, int], list[RawMark]] = {}
    for mark in marks:
        groups.setdefault((mark.symbol, mark.first_us // US_PER_DAY), []).append(mark)
    due = []
    for (symbol, _), group in sorted(groups.items()):
        ready = [mark for mark in group if mark.entry <= (passed.get(mark.stream) or EntryId(-1, 0))]
        ages = [mark.age_s for mark in group]
        if ready and (min(ages) >= QUIET_S or max(ages) >= PATIENCE_S):
            span = Span(symbol, min(mark.first_us for mark in ready), max(mark.last_us for mark in ready))
            due.append(Due(span, [mark.id for mark in ready]))
    return due
