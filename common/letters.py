"""The table `dead_letters`: rows that no table took, unique by (stream, entry_id, row_number)."""

from collections.abc import Iterable
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

#: What the column `stream` says of rows that never became an entry.
FEED, UPLOAD = "feed", "upload"
#: So much of a row is kept.
MAX_PAYLOAD = 1_000
_INSERT = """INSERT INTO dead_letters (stream, entry_id, row_number, src, field, reason, payload) VALUES %s
ON CONFLICT (stream, entry_id, row_number) DO NOTHING"""


class NewLetter(NamedTuple):
    """A row that was none, and why."""

    stream: str  # of its entry; FEED or UPLOAD
    entry_id: str
    row_number: int
    src: str
    field: str
    reason: str
    payload: str


def bury(cursor: Cursor, letters: Iterable[NewLetter]) -> None:
    """Into the table, each once."""
    rows = list(letters)
    if rows:
        execute_values(cursor, _INSERT, rows, page_size=500)
