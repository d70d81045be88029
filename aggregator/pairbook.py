"""Pair rows over stored bars: what the tasks compute, with the same functions as the live stage and so the same rows.

A row is a function of the bars up to its own alone. So a computation begins so far before the first row that is wanted that
every window it needs is full (a filter: at the start of a UTC day), and what it gives does not depend on where it began.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from aggregator.alerting import inbox
from aggregator.alerting.inbox import Noted
from aggregator.barstore import BarLeaves
from aggregator.legs import LegBar, Legs, Row
from aggregator.pairrows import Made, differs, remove_rows, revise_rows, stored_rows
from aggregator.pairwindow import Values, Window, cost_of
from common.codec import iso_us
from common.database import transaction
from common.pairseries import Series, SeriesKey
from common.settings import Settings
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us
from common.view import committed_view

_BARS = """
SELECT timestamp, close, status FROM processed_bars
WHERE symbol = %s AND timeframe = %s AND timestamp >= %s AND timestamp < %s ORDER BY timestamp
"""
_BEFORE = """
SELECT min(timestamp), count(*) FROM (SELECT timestamp FROM processed_bars WHERE symbol = %s AND timeframe = %s
    AND timestamp < %s ORDER BY timestamp DESC LIMIT %s) AS before
"""
_PIECE = """
SELECT timestamp FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp >= %s ORDER BY timestamp OFFSET %s LIMIT 1
"""
_FIRST = "SELECT min(timestamp) FROM processed_bars WHERE symbol = %s AND timeframe = %s"
_COMMON = """
SELECT EXISTS (SELECT 1 FROM processed_bars y WHERE y.symbol = %s AND y.timeframe = %s AND y.timestamp < %s {})
"""
_ALSO = """AND EXISTS (SELECT 1 FROM processed_bars x
    WHERE x.symbol = %s AND x.timeframe = y.timeframe AND x.timestamp = y.timestamp)"""
_AFTER = """
SELECT max(timestamp) FROM (
    SELECT timestamp FROM spread_analytics WHERE symbol_pair = %(pair)s AND timeframe = %(timeframe)s
        AND window_bars = %(window)s AND method = %(method)s AND timestamp >= %(changed)s AND timestamp <= %(reached)s
    UNION ALL (SELECT timestamp FROM spread_analytics WHERE symbol_pair = %(pair)s AND timeframe = %(timeframe)s
        AND window_bars = %(window)s AND method = %(method)s AND timestamp > %(reached)s
        ORDER BY timestamp LIMIT %(rows)s)) AS after
"""
_LAST_ROW = """
SELECT max(timestamp) FROM spread_analytics WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s
"""
_REBUILT_SINCE = """
SELECT EXISTS (SELECT 1 FROM processed_bars WHERE symbol = ANY(%(symbols)s) AND timeframe = %(timeframe)s
        AND timestamp >= %(since)s AND timestamp <= %(last)s AND written_at > %(began)s)
    OR EXISTS (SELECT 1 FROM bar_revisions WHERE symbol = ANY(%(symbols)s) AND timeframe = %(timeframe)s
        AND timestamp >= %(since)s AND timestamp <= %(last)s AND replaced_at > %(began)s)
"""
PIECE_ROWS = 5_000
#: Numbers worked on between two looks at what else there is to do; see `cost_of`.
_PIECE_COST = 3e8
_EXAMPLES = 20
_ATTEMPTS = 3
_LOCK = 0x6765_6D74
EVER_US = 2**62


@dataclass(slots=True)
class Written:
    """Rows computed; how many were new or other than stored (with `check`: are), and the first of those in words."""

    rows: int = 0
    changed: int = 0
    first_us: int | None = None
    last_us: int | None = None
    examples: list[str] = field(default_factory=list)


class _How(NamedTuple):
    check: bool
    only_stored: bool
    note: bool


class Plan(NamedTuple):
    """Where to read from so that rows from `first_us` on are what they ever are."""

    since_us: int
    begun: bool  # the legs had a common bar before


def compute_series(
    connection: Connection, leaves: BarLeaves, settings: Settings, series: Series, first_us: int | None = None,
    last_us: int | None = None, check: bool = False, only_stored: bool = False, note: bool = False,
    pause: Callable[[float, Written], None] | None = None,
) -> Written:  # fmt: skip
    """Make the stored rows with `first_us <= t <= last_us` (None: from the first bar, to the last closed one) what the bars say.

    `check`: write nothing. `only_stored`: make no rows that are not there. `note`: alerts look at all that was made; else at new
    rows behind which none was stored: those follow on what they have seen, the past of a new series does not.
    `pause(progress, written)` is called between pieces, outside of any transaction. If bars of the range are rebuilt meanwhile it
    is done again.
    """
    written, how = Written(), _How(check, only_stored, note)
    for _ in range(_ATTEMPTS):
        with transaction(connection), connection.cursor() as cursor:
            book = _Book(cursor, settings, series, first_us, last_us)
            cursor.execute("SELECT clock_timestamp()")  # what the view has closed was written before
            began: datetime = cursor.fetchone()[0]  # type: ignore[index]
        made = _work(connection, leaves, settings, book, how, pause)
        written = Written(made.rows, written.changed + made.changed, made.first_us, made.last_us, made.examples)
        with transaction(connection), connection.cursor() as cursor:
            if not book.was_rebuilt(cursor, began):
                break
            written.changed = 0 if check else written.changed
    return written


def _work(
    connection: Connection, leaves: BarLeaves, settings: Settings, book: "_Book", how: "_How",
    pause: Callable[[float, Written], None] | None,
) -> Written:  # fmt: skip
    written = Written()
    while not book.is_done:
        with transaction(connection), connection.cursor() as cursor:
            book.plan_piece(cursor)
        if not how.check:
            leaves.ensure(connection, _every_month(book.at_us, book.until_us))
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, repr(book.series.key)))
            made, asked = book.piece(cursor, settings)
            _settle(cursor, book, made, asked, how, written)
        book.at_us = book.until_us
        if pause:
            pause(book.progress, written)
    return written


def _settle(cursor: Cursor, book: "_Book", made: list[Made], asked: set[int], how: "_How", written: Written) -> None:
    key, log = book.series.key, "log" in book.series.key.method.split("+")
    first_us, last_us = max(book.at_us, book.first_us), min(book.until_us - 1, book.last_us)
    if first_us > last_us:
        return
    stored = stored_rows(cursor, key, first_us, last_us)
    known = [one for one in made if one.row.start_us in stored]
    told = {one.row.start_us: differs(stored[one.row.start_us], one.row, one.values, log) for one in known}
    changed = [one for one in made if told.get(one.row.start_us)]
    new = [] if how.only_stored else [one for one in made if one.row.start_us not in stored]
    gone = sorted(set(stored) - {one.row.start_us for one in made})
    if not how.check:
        revise_rows(cursor, changed, new, asked)
        if gone:
            remove_rows(cursor, key, gone)
        noted = [(one, 1) for one in changed if how.note]
        noted += [(one, 0) for one in new if how.note or one.row.start_us > book.newest_us]
        if noted:
            inbox.note(cursor, "pair", [Noted(*key, from_us(one.row.start_us), revision) for one, revision in noted])
    written.rows += len(made)
    written.changed += len(changed) + len(new) + len(gone)
    words = [(one.row.start_us, told[one.row.start_us]) for one in changed]
    words += [(one.row.start_us, "is missing") for one in new] + [(stamp, "no bars say so") for stamp in gone]
    for stamp, what in sorted(words):
        written.first_us = stamp if written.first_us is None else written.first_us
        written.last_us = stamp
        if len(written.examples) < _EXAMPLES:
            written.examples.append(f"{iso_us(stamp)}: {what}")


class _Book:
    """One computation: the legs and the window, moved on piece by piece over `[at_us, until_us)`."""

    def __init__(self, cursor: Cursor, settings: Settings, series: Series, first_us: int | None, last_us: int | None) -> None:
        self.series, self.length_us = series, timeframe_us(series.key.timeframe)
        view = committed_view(cursor, settings)
        closed = [view.watermarks.get(symbol, -1) for symbol in series.symbols]
        starts = [start for symbol in series.symbols if (start := _first_bar(cursor, symbol, series.key.timeframe)) is not None]
        whole = len(starts) == len(series.symbols) and min(closed) > 0
        self.first_us = max(first_us or 0, max(starts) if whole else 0)
        self.last_us = min(EVER_US if last_us is None else last_us, min(closed) - self.length_us) if whole else -1
        self._block_us = self.length_us * settings.coint_every_bars
        plan = Plan(self.first_us, False)
        if not whole or self.first_us > max(starts):
            plan = plan_context(cursor, settings, series, self.first_us - self.first_us % self._block_us)
        self.at_us = self.until_us = self.since_us = plan.since_us
        self._legs = Legs(self.length_us, settings.stale_leg_s * 1_000_000, plan.begun, len(series.symbols))
        self._window = Window(series.key, len(series.symbols))
        self._block = -1
        newest_us = last_row_us(cursor, series.key)
        self.newest_us = EVER_US if newest_us is None else newest_us

    @property
    def is_done(self) -> bool:
        """True once the last wanted row is made."""
        return self.at_us > self.last_us

    @property
    def progress(self) -> float:
        """How far it is in time, 0 to 1."""
        whole = max(1, self.last_us - self.since_us)
        return min(1.0, max(0.0, (self.at_us - self.since_us) / whole))

    def plan_piece(self, cursor: Cursor) -> None:
        """Choose where the next piece ends: after so many bars of one leg as do not hold anybody up."""
        cost = max(1.0, cost_of(self.series.key, self.series.key.window + PIECE_ROWS) / PIECE_ROWS)
        rows = max(200, min(PIECE_ROWS, int(_PIECE_COST / cost)))
        ends = []
        for symbol in self.series.symbols:
            cursor.execute(_PIECE, (symbol, self.series.key.timeframe, from_us(self.at_us), rows))
            row = cursor.fetchone()
            ends += [to_us(row[0])] if row else []
        self.until_us = max(self.at_us + 1, min([*ends, self.last_us + 1]))

    def piece(self, cursor: Cursor, settings: Settings) -> tuple[list[Made], set[int]]:
        """The wanted rows of the piece, and the blocks whose first row with statistics is among them."""
        for leg, symbol in zip(self._legs.legs, self.series.symbols, strict=True):
            for bar in leg_bars(cursor, symbol, self.series.key.timeframe, self.at_us, self.until_us):
                leg.add(bar)
            leg.closed_us = self.until_us - 1 + self.length_us
        rows = self._legs.rows()
        made, asked = [], set()
        for one in made_of(self.series.key, rows, self._window.extend(rows), self._block_us):
            is_wanted = self.first_us <= one.row.start_us <= self.last_us
            if one.values.statistics[0] is not None and one.block_us != self._block:
                self._block = one.block_us
                asked |= {one.block_us} if is_wanted else set()
            if is_wanted:
                made.append(one)
        return made, asked

    def was_rebuilt(self, cursor: Cursor, began: datetime) -> bool:
        """True if bars that were used have changed since."""
        if self.last_us < self.since_us:
            return False
        span = {"since": from_us(self.since_us), "last": from_us(self.last_us)}
        named = {"symbols": list(self.series.symbols), "timeframe": self.series.key.timeframe, "began": began}
        cursor.execute(_REBUILT_SINCE, {**span, **named})
        row = cursor.fetchone()
        return bool(row and row[0])


def made_of(key: SeriesKey, rows: Iterable[Row], values: Iterable[Values], block_us: int) -> Iterator[Made]:
    """Rows with what was computed of them; `block_us` is the length of a block of tests."""
    for row, value in zip(rows, values, strict=True):
        yield Made(key, row, value, row.start_us - row.start_us % block_us)


def plan_context(cursor: Cursor, settings: Settings, series: Series, first_us: int) -> Plan:
    """How far back of `first_us` a computation begins, so that its windows and their spreads' windows are full."""
    rows = 2 * series.key.window + 2
    since_us = _rows_before(cursor, settings, series, first_us, rows)
    if series.key.method.startswith("kalman"):
        day_us = since_us - since_us % US_PER_DAY
        since_us = _rows_before(cursor, settings, series, day_us, series.key.window + 1)
    since_us = max(0, since_us - settings.stale_leg_s * 1_000_000)
    return Plan(since_us, has_common_bar(cursor, series, since_us))


def _rows_before(cursor: Cursor, settings: Settings, series: Series, first_us: int, rows: int) -> int:
    """A time from which on there are at least so many rows before `first_us`, or all there are."""
    bars = rows
    while True:
        starts = []
        for symbol in series.symbols:
            cursor.execute(_BEFORE, (symbol, series.key.timeframe, from_us(first_us), bars))
            start, count = cursor.fetchone() or (None, 0)
            starts.append((to_us(start) if start else first_us, count < bars))
        since_us = min(start for start, _ in starts)
        if any(is_all for _, is_all in starts) or _count_rows(cursor, settings, series, since_us, first_us) >= rows:
            return since_us
        bars *= 4


def _count_rows(cursor: Cursor, settings: Settings, series: Series, since_us: int, until_us: int) -> int:
    length_us = timeframe_us(series.key.timeframe)
    legs = Legs(length_us, settings.stale_leg_s * 1_000_000, True, len(series.symbols))
    for leg, symbol in zip(legs.legs, series.symbols, strict=True):
        leg.closed_us = until_us - 1 + length_us
        for bar in leg_bars(cursor, symbol, series.key.timeframe, since_us, until_us):
            leg.add(bar)
    return len(legs.rows())


def has_common_bar(cursor: Cursor, series: Series, before_us: int) -> bool:
    """True if all legs have a bar at one time before that."""
    query = _COMMON.format(" ".join([_ALSO] * (len(series.symbols) - 1)))
    cursor.execute(query, (series.symbols[0], series.key.timeframe, from_us(before_us), *series.symbols[1:]))
    row = cursor.fetchone()
    return bool(row and row[0])


def leg_bars(cursor: Cursor, symbol: str, timeframe: str, first_us: int, end_us: int) -> Iterator[LegBar]:
    """Stored bars that start in `[first_us, end_us)`, oldest first."""
    if end_us <= first_us:
        return
    cursor.execute(_BARS, (symbol, timeframe, from_us(max(0, first_us)), from_us(end_us)))
    for timestamp, close, status in cursor.fetchall():
        yield LegBar(to_us(timestamp), str(close), float(close), status == "gap")


def touched_until_us(cursor: Cursor, key: SeriesKey, first_us: int, last_us: int, stale_us: int) -> int | None:
    """Last stored row that changes of the bars from `first_us` to `last_us` can reach; None if no row is as late as the first.

    A bar's close may be carried for `stale_us`; a row with it is in the windows of two windows more. A filter carries it to the
    end of the UTC day, and from there as far.
    """
    reached_us = last_us + stale_us
    if key.method.startswith("kalman"):
        reached_us += US_PER_DAY - reached_us % US_PER_DAY - 1
    span = {"changed": from_us(first_us), "reached": from_us(reached_us), "rows": 2 * key.window}
    cursor.execute(_AFTER, {**key._asdict(), **span})
    row = cursor.fetchone()
    return to_us(row[0]) if row and row[0] else None


def last_row_us(cursor: Cursor, key: SeriesKey) -> int | None:
    """Start of the newest stored row; None without any."""
    cursor.execute(_LAST_ROW, key)
    row: Any = cursor.fetchone()
    return to_us(row[0]) if row and row[0] else None


def _first_bar(cursor: Cursor, symbol: str, timeframe: str) -> int | None:
    cursor.execute(_FIRST, (symbol, timeframe))
    row: Any = cursor.fetchone()
    return to_us(row[0]) if row and row[0] else None


def _every_month(first_us: int, end_us: int) -> list[int]:
    return [*range(first_us, end_us, 28 * US_PER_DAY), end_us]
