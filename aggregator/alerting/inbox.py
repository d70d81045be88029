"""Rows that the tasks made or changed, for the aggregator to look at: written in the transaction that makes them, taken in the
aggregator's next one. A subject without a rule costs a look at an index and no row.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.alerting.series import SeriesKey
from common.alertkinds import KINDS
from common.trades import from_us, to_us

#: Taken in one transaction at most: an import makes many, and bars that close now shall not wait for them.
TAKE_AT_MOST = 2_000
_NOTE = """
INSERT INTO alert_inbox (source, subject, timeframe, window_bars, method, timestamp, revision, newest_rule)
SELECT %(source)s, r.subject, r.timeframe, r.window_bars::integer, r.method, r.timestamp::timestamptz, r.revision::integer,
    a.newest
FROM (VALUES {rows}) AS r (subject, timeframe, window_bars, method, timestamp, revision, is_newest)
JOIN (SELECT symbol_pair, timeframe, max(id) AS newest, array_agg(id) AS ids FROM alerts
    WHERE deleted_at IS NULL AND status NOT IN ('expired', 'resolved') AND alert_type = ANY(%(types)s)
        AND symbol_pair = ANY(%(subjects)s)
    GROUP BY symbol_pair, timeframe) AS a ON (a.symbol_pair, a.timeframe) = (r.subject, r.timeframe)
WHERE r.revision::integer = 0 OR r.is_newest OR EXISTS (SELECT 1 FROM alert_events e
    WHERE e.alert_id = ANY(a.ids) AND e.bar_timestamp = r.timestamp::timestamptz)
ORDER BY r.timestamp::timestamptz
"""
_TAKE = """
DELETE FROM alert_inbox WHERE id IN (
    SELECT id FROM alert_inbox WHERE subject = ANY(%s) AND source <> 'test' ORDER BY id LIMIT %s)
RETURNING id, source, subject, timeframe, window_bars, method, timestamp, revision, newest_rule
"""
_WAITING_TESTS = """
SELECT DISTINCT source, subject, timeframe, window_bars, method FROM alert_inbox WHERE subject = ANY(%s) AND source = 'test'
"""
#: Tests are done in any order and looked at in theirs: one waits for those before it that are still to be done.
_TAKE_TESTS = """
DELETE FROM alert_inbox i WHERE (source, subject, timeframe, window_bars, method) = (%s, %s, %s, %s, %s)
    AND NOT EXISTS (SELECT 1 FROM pair_tests t WHERE (t.symbol_pair, t.timeframe, t.window_bars, t.method)
        = (i.subject, i.timeframe, i.window_bars, i.method) AND t.tested_at IS NULL
        AND t.timestamp < i.timestamp AND t.timestamp > %s)
RETURNING id, source, subject, timeframe, window_bars, method, timestamp, revision, newest_rule
"""
_FORGET = """
DELETE FROM alert_inbox i WHERE NOT EXISTS (SELECT 1 FROM alerts a WHERE a.symbol_pair = i.subject AND a.deleted_at IS NULL)
"""
_WAITING = """
SELECT timestamp FROM alert_inbox WHERE (source, subject, timeframe, window_bars, method) = (%s, %s, %s, %s, %s) AND revision = 0
"""


class Noted(NamedTuple):
    """A row that was made or, `revision` above 0, changed; `revision` is the row's own."""

    subject: str
    timeframe: str
    window: int
    method: str
    timestamp: datetime
    revision: int


class Taken(NamedTuple):
    """A row of a series, to be read where it is stored."""

    key: SeriesKey
    us: int
    revision: int
    newest_rule: int


def note(cursor: Cursor, source: str, rows: Sequence[Noted]) -> None:
    """Note rows of a source (`bar`, `pair`, `test`) of whose subject and timeframe there is a rule.

    Changed rows only where an alert has an event, and of each series the newest, behind which the look-back of rules may lie.
    """
    types = [name for name, kind in KINDS.items() if kind.source == source or (source == "bar" and kind.source == "hole")]
    subjects = sorted({row.subject for row in rows})
    cursor.execute(
        "SELECT DISTINCT symbol_pair, timeframe FROM alerts WHERE deleted_at IS NULL AND symbol_pair = ANY(%s)", (subjects,)
    )
    watched = set(cursor.fetchall())
    kept = [row for row in rows if (row.subject, row.timeframe) in watched]
    if not kept:
        return
    newest: dict[tuple[Any, ...], datetime] = {}
    for row in kept:
        newest[row[:4]] = max(row.timestamp, newest.get(row[:4], row.timestamp))
    given = {"source": source, "types": types, "subjects": subjects}
    statement = cursor.mogrify(_NOTE, given).decode().replace("%", "%%").replace("{rows}", "%s")
    execute_values(cursor, statement, [(*row, row.timestamp == newest[row[:4]]) for row in kept], page_size=5_000)


def take(cursor: Cursor, subjects: Sequence[str]) -> list[Taken]:
    """Remove and answer the oldest rows of these subjects, in the order in which they were noted."""
    cursor.execute(_TAKE, (list(subjects), TAKE_AT_MOST))
    return _taken(cursor.fetchall())


def take_tests(cursor: Cursor, last_us: Mapping[SeriesKey, int]) -> list[Taken]:
    """Remove and answer tests that are done, as far as all before them are too; `last_us` is the last one looked at."""
    cursor.execute(_WAITING_TESTS, (sorted({key.subject for key in last_us}),))
    found = []
    for key in [SeriesKey(*row) for row in cursor.fetchall()]:
        cursor.execute(_TAKE_TESTS, (*key, from_us(max(0, last_us.get(key, 0)))))
        found += cursor.fetchall()
    return _taken(found)


def note_test(cursor: Cursor, key: Sequence[Any], timestamp: datetime, is_new: bool) -> None:
    """A test of a pair series (pair, timeframe, window, method) is done, for the first time or again."""
    pair, timeframe, window, method = key
    note(cursor, "test", [Noted(pair, timeframe, window, method, timestamp, 0 if is_new else 1)])


def note_pair_rows(cursor: Cursor, key: Sequence[Any], new_us: Iterable[int], changed_us: Iterable[int]) -> None:
    """Rows of a pair series (pair, timeframe, window, method) were made or changed by a task."""
    pair, timeframe, window, method = key
    stamps = [(us, 0) for us in new_us] + [(us, 1) for us in changed_us]
    if stamps:
        note(cursor, "pair", [Noted(pair, timeframe, window, method, from_us(us), revision) for us, revision in stamps])


def _taken(rows: Sequence[tuple[Any, ...]]) -> list[Taken]:
    return [
        Taken(SeriesKey(source, subject, timeframe, window, method), to_us(timestamp), revision, newest_rule)
        for _, source, subject, timeframe, window, method, timestamp, revision, newest_rule in sorted(rows)
    ]


def forget_unwatched(cursor: Cursor) -> None:
    """Remove rows of subjects whose last rule is gone."""
    cursor.execute(_FORGET)


def noted_bars(settled: Sequence[Any]) -> list[Noted]:
    """Of bars as `barstore.settle` answers them: revision 0 for a new one, whatever its own revision says."""
    return [Noted(bar.symbol, bar.timeframe, 0, "", bar.timestamp, 0 if bar.is_new else max(1, bar.revision)) for bar in settled]


def waiting_stamps(cursor: Cursor, key: SeriesKey) -> set[int]:
    """Stamps of a series' new rows that wait to be looked at."""
    cursor.execute(_WAITING, tuple(key))
    return {to_us(row[0]) for row in cursor.fetchall()}
