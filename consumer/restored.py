"""PostgreSQL came back older than the group remembers: what the stream still holds is stored again, what it lost is named.

Bars over what is stored again are marked: while PostgreSQL lacked these ticks, a rebuild may have made bars without them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from common.columns import Columns, read_entries
from common.database import transaction
from common.gaps import Gap, record
from common.judge import Limits
from common.settings import Settings
from common.sources import ids_follow_on
from common.streams import START, Entry, EntryId, read_range
from consumer.missed import widen

_CHUNK = 200
_NOTE = "PostgreSQL was restored from an older copy"
_MARK = """INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
VALUES %s"""
_SOURCES = "SELECT symbol, src FROM sources"
_LAST_COMMIT = "SELECT max(updated_at) FROM writer_positions"
_NEWEST = """
SELECT trade_id, trade_id, us, us FROM (
    SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint AS us FROM raw_ticks
    WHERE symbol = %s AND trade_id >= 0 ORDER BY trade_id DESC LIMIT 1) AS newest
"""
_RUNS = """
SELECT min(trade_id), max(trade_id), (extract(epoch FROM min(timestamp)) * 1000000)::bigint,
    (extract(epoch FROM max(timestamp)) * 1000000)::bigint
FROM (SELECT trade_id, timestamp, trade_id - row_number() OVER (ORDER BY trade_id, timestamp) AS run FROM raw_ticks
    WHERE symbol = %s AND trade_id >= 0 AND timestamp >= %s) AS placed
GROUP BY run
"""


class Run(NamedTuple):
    """Ids `low..high` that are stored or in the stream, and the stamps at their ends."""

    low: int
    high: int
    low_us: int
    high_us: int


def note_the_damage(settings: Settings, client: redis.Redis, connection: Connection, stream: str) -> int:
    """Mark what the stream holds, to be rebuilt once it is stored, and record as gaps the ids that neither has.

    Looks at the ticks from the day before the last commit that PostgreSQL remembers; answers how many gaps it found.
    """
    ranges: dict[tuple[str, int], tuple[int, int]] = {}
    held: defaultdict[str, list[Run]] = defaultdict(list)
    limits, after, until = Limits.of(settings), START, _last_entry(client, stream)
    while entries := read_range(client, stream, after, until, _CHUNK):
        columns = read_entries(entries, limits).columns
        widen(ranges, columns)
        _add_runs(held, columns, entries)
        after = entries[-1].id
    with transaction(connection), connection.cursor() as cursor:
        gaps = [gap for symbol in _counted_symbols(cursor, held) for gap in _gaps_of(cursor, symbol, held[symbol])]
        marks = [(symbol, *span) for (symbol, _), span in ranges.items()] + [(gap.symbol, gap.from_us, gap.to_us) for gap in gaps]
        if marks:
            execute_values(cursor, _MARK, [(*mark, stream, until.ms, until.seq, _NOTE, True) for mark in marks])
        return sum(record(cursor, gap, "open", _NOTE, stream) for gap in gaps)


def _last_entry(client: redis.Redis, stream: str) -> EntryId:
    found: Any = client.xrevrange(stream, count=1)
    return EntryId.parse(found[0][0]) if found else START


def _add_runs(held: defaultdict[str, list[Run]], columns: Columns, entries: Sequence[Entry]) -> None:
    counted = np.array([ids_follow_on(entry.src) for entry in entries], dtype=bool)[columns.entry] & (columns.trade_id >= 0)
    for code, symbol in enumerate(columns.symbols):
        rows = np.flatnonzero(counted & (columns.symbol == code))
        if not len(rows):
            continue
        rows = rows[np.argsort(columns.trade_id[rows], kind="stable")]
        ids, stamps = columns.trade_id[rows], columns.event_us[rows]
        firsts = np.flatnonzero(np.concatenate(([True], np.diff(ids) > 1)))
        lasts = np.append(firsts[1:], len(ids)) - 1
        ends = (ids[firsts], ids[lasts], stamps[firsts], stamps[lasts])
        held[symbol] += map(Run, *[column.tolist() for column in ends])


def _counted_symbols(cursor: Cursor, held: Iterable[str]) -> list[str]:
    """Symbols whose ids follow on each other: those of the stream, and those that are registered."""
    cursor.execute(_SOURCES)
    return sorted({*held, *[symbol for symbol, src in cursor.fetchall() if ids_follow_on(src)]})


def _gaps_of(cursor: Cursor, symbol: str, held: Sequence[Run]) -> list[Gap]:
    cursor.execute(_LAST_COMMIT)
    row = cursor.fetchone()
    stored: list[Run] = []
    if row and row[0]:
        cursor.execute(_RUNS, (symbol, row[0] - timedelta(days=1)))
        stored = [Run(*run) for run in cursor.fetchall()]
    cursor.execute(_NEWEST, (symbol,))
    return gaps_between(symbol, [*stored, *[Run(*run) for run in cursor.fetchall()], *held])


def gaps_between(symbol: str, runs: Iterable[Run]) -> list[Gap]:
    """Ids between runs that no run has.

    >>> gaps_between("A", [Run(7, 9, 70, 90), Run(1, 4, 10, 40), Run(3, 5, 30, 50)])
    [Gap(symbol='A', first_id=6, last_id=6, from_us=50, to_us=70)]
    """
    gaps: list[Gap] = []
    top: Run | None = None
    for run in sorted(runs):
        if top and run.low > top.high + 1:
            ends = sorted((top.high_us, run.low_us))
            gaps.append(Gap(symbol, top.high + 1, run.low - 1, ends[0], ends[1]))
        if top is None or run.high > top.high:
            top = run
    return gaps
