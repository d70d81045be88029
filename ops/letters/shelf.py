"""The table `dead_letters`."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.database import transaction

#: Letters in memory at once.
CHUNK = 5_000
_COLUMNS = "id, stream, entry_id, row_number, src, field, reason, payload, created_at"
_NEWEST = f"SELECT {_COLUMNS} FROM dead_letters WHERE position(%s in reason) > 0 ORDER BY id DESC LIMIT %s"  # noqa: S608
_REASONS = """
SELECT src, field, count(*) FROM dead_letters WHERE position(%s in reason) > 0 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
_CHOSEN = f"""
SELECT {_COLUMNS} FROM dead_letters WHERE id > %s AND id <= %s AND (%s::bigint[] IS NULL OR id = ANY(%s)) ORDER BY id LIMIT %s
"""  # noqa: S608


class Letter(NamedTuple):
    """A row that no table took."""

    id: int
    stream: str  # the stream its entry was in; `feed` or `upload` where it never became one
    entry_id: str
    row_number: int
    src: str
    field: str
    reason: str
    payload: str
    created_at: datetime


def newest(connection: Connection, limit: int, reason: str = "") -> list[Letter]:
    """The newest, oldest of them first; only those whose reason holds a text."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_NEWEST, (reason, limit))
        return [Letter(*row) for row in cursor.fetchall()][::-1]


def count_reasons(connection: Connection, reason: str = "") -> list[tuple[str, str, int]]:
    """How many there are by (source, field), most first."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_REASONS, (reason,))
        return [(src, field, int(count)) for src, field, count in cursor.fetchall()]


def newest_id(connection: Connection) -> int:
    """The largest id there is; 0 without any."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM dead_letters")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def chosen(connection: Connection, ids: Sequence[int] | None, until_id: int) -> Iterator[list[Letter]]:
    """Those of these ids (None: all) up to an id, in chunks; each chunk may be deleted before the next is read."""
    wanted, after = (list(ids) if ids is not None else None), 0
    while True:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_CHOSEN, (after, until_id, wanted, wanted, CHUNK))
            letters = [Letter(*row) for row in cursor.fetchall()]
        if not letters:
            return
        yield letters
        after = letters[-1].id


def delete(cursor: Cursor, ids: Sequence[int]) -> int:
    """Delete these; answers how many there were."""
    cursor.execute("DELETE FROM dead_letters WHERE id = ANY(%s)", (list(ids),))
    return cursor.rowcount


def delete_up_to(cursor: Cursor, until_id: int) -> int:
    """Delete all up to an id; answers how many."""
    cursor.execute("DELETE FROM dead_letters WHERE id <= %s", (until_id,))
    return cursor.rowcount
