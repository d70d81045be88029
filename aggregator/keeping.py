"""Bars and pair rows as they were, kept beside those that replace them."""

from typing import Any

from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor


def keep(cursor: Cursor, statement: str, lift: str, params: Any = None) -> None:
    """Keep rows as they are; one whose revision is kept already is lifted first, for both are what was known at their time.

    Older versions let a row that came back begin at 0 again. Without the lift `tasks` would be refused at each attempt.
    """
    cursor.execute("SAVEPOINT keeping")
    try:
        cursor.execute(statement, params)
    except errors.UniqueViolation:
        cursor.execute("ROLLBACK TO SAVEPOINT keeping")
        cursor.execute(lift, params)
        cursor.execute(statement, params)
