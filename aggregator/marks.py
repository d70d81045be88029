"""Which marks are due: passed by the writers, settled for a moment, joined by symbol and UTC day."""

import time
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import redis
from psycopg2.extensions import connection as Connection

from aggregator.abreast import helping_sessions, rebuild_abreast
from aggregator.barstore import BarLeaves, Settled
from aggregator.rebuild import Span, rebuild
from common.database import transaction
from common.settings import Settings
from common.streams import EntryId
from common.trades import US_PER_DAY, utc_day
from common.view import View, committed_view

#: An import makes marks for as long as it runs: a day's are taken together once none came for a while, or the oldest waited long.
QUIET_S, PATIENCE_S = 0.3, 5.0
MANY = 20_000
#: Event time from which on symbols are rebuilt at once, and how far aggregators may be behind meanwhile: they commit each second.
LARGE_US, BEHIND_MS = 600_000_000, 2_000
_MARKS = """
SELECT id, symbol, first_us, last_us, stream, entry_ms, entry_seq, due_us, extract(epoch FROM now() - marked_at)::float
FROM dirty_ranges ORDER BY due_us, id LIMIT %s
"""


class Due(NamedTuple):
    """A span to rebuild, and the marks that ask for it."""

    span: Span
    marks: list[int]


class DueMarks(NamedTuple):
    """A span to rebuild, with the newest entry that asks for it."""

    span: Span
    marks: list[int]
    stream: str
    entry: EntryId


class RawMark(NamedTuple):
    """A row of `dirty_ranges`."""

    id: int
    symbol: str
    first_us: int
    last_us: int
    stream: str
    entry: EntryId
    due_us: int
    age_s: float


class Plan(NamedTuple):
    """What to rebuild, as of one moment of the aggregator: `view` is its committed state when the marks were read, `stored` what
    the writers have to reach first.
    """

    view: View
    stored: View
    due: list[Due]


class Rebuilder:
    """Rebuilds marked bars, one plan after the other."""

    def __init__(self, settings: Settings, client: redis.Redis, connection: Connection, leaves: BarLeaves) -> None:
        self._settings, self._client, self._connection, self._leaves = settings, client, connection, leaves
        self._plan: Plan | None = None

    def turn(self) -> list[Settled]:
        """Go on with the plan, or make one; answers the bars that are new or changed.

        A plan waits until the writers have stored every entry that the aggregator had used: else a bar that it has closed from
        memory would be overwritten by an aggregate that still lacks some of its ticks.
        """
        if self._plan is None:
            self._plan = self._make_plan()
        if self._plan is None or not self._plan.stored.is_stored(self._client):
            return []
        plan, self._plan = self._plan, None
        by_symbol = [list(of_symbol) for _, of_symbol in groupby(plan.due, key=lambda due: due.span.symbol)]
        helpers = min(len(by_symbol), self._settings.rebuild_sessions) - 1 if is_large(plan.due) else 0
        with helping_sessions(self._settings, helpers) as helping:
            return rebuild_abreast(
                [self._connection, *helping], by_symbol, lambda session, due: self._rebuild(session, plan.view, due),
                self._nothing_waits,
            )  # fmt: skip

    def _rebuild(self, connection: Connection, view: View, due: Due) -> list[Settled]:
        span, closed_us = kept_span(self._settings, due.span), view.closed_us(due.span.symbol)
        return rebuild(connection, self._leaves, span, self._settings.timeframes, closed_us, self._settings.shards, due.marks)

    def _nothing_waits(self, connection: Connection) -> bool:
        """True while the aggregators keep up with what comes: bars of today go before those of the past."""
        with transaction(connection), connection.cursor() as cursor:
            view = committed_view(cursor, self._settings)
        return view.behind_ms(self._client) < BEHIND_MS

    def _make_plan(self) -> Plan | None:
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute(_MARKS, (MANY,))
            marks = [_mark(*row) for row in cursor.fetchall()]
            view = committed_view(cursor, self._settings)
        due = due_spans([mark for mark in self._without_unread(marks, view) if mark.due_us <= view.closed_us(mark.symbol)])
        if not due:
            return None
        entries: dict[str, EntryId] = {}
        for each in due:
            entries[each.stream] = max(each.entry, entries.get(each.stream, each.entry))
        return Plan(view, view.reaching(entries), [Due(each.span, each.marks) for each in due])

    def _without_unread(self, marks: Sequence[RawMark], view: View) -> list[RawMark]:
        """Of a symbol that no aggregator has committed a trade of, one may hold open bars that nobody else knows of, until it has
        committed what made the mark: they would come after the rebuild, and undo it.
        """
        streams = {mark.stream for mark in marks if mark.symbol not in view.watermarks}
        read = {stream: view.read_up_to(self._client, stream) for stream in streams}
        return [mark for mark in marks if mark.symbol in view.watermarks or mark.entry <= read[mark.stream]]


def is_large(due: Sequence[Due]) -> bool:
    """True if so much is to be rebuilt that a session more is worth its start."""
    return sum(each.span.last_us - each.span.first_us for each in due) >= LARGE_US


def kept_span(settings: Settings, span: Span) -> Span:
    """The part of a span whose ticks retention has kept: a day that it may have dropped is never rebuilt."""
    if not settings.tick_retention_days:
        return span
    oldest_day = utc_day(int(time.time()) * 1_000_000) - settings.tick_retention_days
    return span._replace(first_us=max(span.first_us, oldest_day * US_PER_DAY))


def _mark(
    mark_id: int, symbol: str, first_us: int, last_us: int, stream: str, entry_ms: int, entry_seq: int, due_us: int,
    age_s: float,
) -> RawMark:  # fmt: skip
    return RawMark(mark_id, symbol, first_us, last_us, stream, EntryId(entry_ms, int(entry_seq)), due_us, age_s)


def due_spans(marks: Sequence[RawMark]) -> list[DueMarks]:
    """Joined marks, by symbol and day, that have settled for a moment."""
    groups: dict[tuple[str, str, int], list[RawMark]] = {}
    for mark in marks:
        groups.setdefault((mark.stream, mark.symbol, utc_day(mark.first_us)), []).append(mark)
    due = []
    for (stream, symbol, _), group in sorted(groups.items()):
        ages = [mark.age_s for mark in group]
        if min(ages) >= QUIET_S or max(ages) >= PATIENCE_S:
            span = Span(symbol, min(mark.first_us for mark in group), max(mark.last_us for mark in group))
            due.append(DueMarks(span, [mark.id for mark in group], stream, max(mark.entry for mark in group)))
    return due
