"""Leaves of the partitioned tables, made ahead of need and outside the transactions that fill them.

Ticks: a leaf a UTC day; a leaf a month for months that ended more than 60 days ago. Bars and pair rows: a leaf a month.
Attaching takes a lock that readers and writers don't notice; `CREATE TABLE .. PARTITION OF` would stop them all.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.database import transaction

MONTHLY_TABLES = ("processed_bars", "spread_analytics", "price_stats")
OLD_AFTER = timedelta(days=60)
_LOCK = 0x6765_6D73_0001  # "gems", 1


def ensure_tick_leaves(connection: Connection, days: Iterable[date], today: date | None = None) -> None:
    """Make the leaves of `raw_ticks` that these UTC days need."""
    today = today or datetime.now(UTC).date()
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        leaves = _leaves(cursor, "raw_ticks")
        for day in sorted(set(days)):
            leaf = tick_leaf(day, today, leaves)
            if leaf[0] not in leaves:
                _make_leaf(cursor, "raw_ticks", *leaf, _tick_indexes(leaf))
                leaves.add(leaf[0])


def ensure_month_leaves(connection: Connection, days: Iterable[date], tables: Iterable[str] = MONTHLY_TABLES) -> None:
    """Make the month leaves of bars and pair rows that these UTC days need."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        for table in tables:
            leaves = _leaves(cursor, table)
            for first in sorted({day.replace(day=1) for day in days}):
                name = f"{table}_{first:%Y%m}"
                if name not in leaves:
                    _make_leaf(cursor, table, name, first, _next_month(first), "")


def tick_leaf(day: date, today: date, leaves: set[str]) -> tuple[str, date, date]:
    """Name and range `[first, end)` of the leaf for a day: its month's, if old and not begun by days.

    >>> tick_leaf(date(2024, 1, 31), date(2026, 1, 1), set())
    ('raw_ticks_202401', datetime.date(2024, 1, 1), datetime.date(2024, 2, 1))
    """
    first = day.replace(day=1)
    end = _next_month(first)
    month, daily = f"raw_ticks_{first:%Y%m}", f"raw_ticks_{day:%Y%m%d}"
    begun_by_days = any(leaf.startswith(month) and len(leaf) > len(month) for leaf in leaves)
    if month in leaves or (end <= today - OLD_AFTER and not begun_by_days):
        return month, first, end
    return daily, day, day + timedelta(days=1)


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


def _tick_indexes(leaf: tuple[str, date, date]) -> str:
    """A day's leaf holds one day, so (symbol, trade_id) is the identity; a month's needs the day in it."""
    name, first, end = leaf
    day = "" if (end - first).days == 1 else ", ((timestamp AT TIME ZONE 'UTC')::date)"
    return (
        f"CREATE UNIQUE INDEX ON {name} (symbol, trade_id{day});"
        f"CREATE INDEX ON {name} USING brin (timestamp) WITH (pages_per_range = 16, autosummarize = on);"
    )


def _leaves(cursor: Cursor, table: str) -> set[str]:
    cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (table,))
    return {row[0] for row in cursor.fetchall()}


def _make_leaf(cursor: Cursor, table: str, name: str, first: date, end: date, indexes: str) -> None:
    """The CHECK proves the range, so that attaching scans nothing; names and dates are ours, not a user's."""
    check = f"timestamp >= '{first}T00:00:00Z' AND timestamp < '{end}T00:00:00Z'"
    cursor.execute(
        f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING COMMENTS, CHECK ({check}));{indexes}"
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}T00:00:00Z') TO ('{end}T00:00:00Z');"
    )


def drop_leaves_before(connection: Connection, table: str, day: date) -> list[str]:
    """Drop the leaves of a table that end at or before a UTC day; answers their names."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        old = sorted(leaf for leaf in _leaves(cursor, table) if _leaf_end(leaf) <= day)
        for leaf in old:
            cursor.execute(f"DROP TABLE {leaf}")
    return old


def summarize_tick_leaf(connection: Connection, day: date) -> None:
    """Bring the time index of a day's (or its month's) leaf up to date; without that leaf, nothing."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "SELECT brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'brin'"
            " AND i.indrelid IN (to_regclass(%s), to_regclass(%s))",
            (f"raw_ticks_{day:%Y%m%d}", f"raw_ticks_{day:%Y%m}"),
        )


def leaf_ranges(cursor: Cursor, table: str) -> list[tuple[date, date]]:
    """The UTC days `[first, end)` of each leaf of a table, oldest first."""
    return sorted((_leaf_first(leaf), _leaf_end(leaf)) for leaf in _leaves(cursor, table))


def _leaf_first(leaf: str) -> date:
    stamp = leaf.rsplit("_", 1)[1]
    return date(int(stamp[:4]), int(stamp[4:6]), int(stamp[6:] or 1))


def _leaf_end(leaf: str) -> date:
    first = _leaf_first(leaf)
    return first + timedelta(days=1) if len(leaf.rsplit("_", 1)[1]) == 8 else _next_month(first)
