# ruff: noqa: S608 - only constants of this module are text; values travel as parameters
"""Rows of `alert_receivers`; a deleted one stays without its URL and secret, for its deliveries name it."""

from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor

from common.database import transaction
from common.outbox import end_deliveries
from common.receivers import masked_url
from web.errors import Conflict
from web.queries.pieces import instant
from web.stores import Stores

MAX_RECEIVERS = 200
#: What a request may set, in the order of the table.
COLUMNS = (
    "name", "kind", "url", "secret", "template", "min_severity", "alert_types", "symbol_pairs", "send_resolved", "enabled",
)  # fmt: skip
_SHOWN = ("id", *(column for column in COLUMNS if column != "secret"), "created_at", "updated_at")
_LIST = f"""
SELECT {", ".join(_SHOWN[:-2])}, {instant("created_at")}, {instant("updated_at")},
    (SELECT count(*) FROM alert_deliveries WHERE receiver_id = receiver.id AND state = 'waiting'),
    (SELECT count(*) FROM alert_deliveries WHERE receiver_id = receiver.id AND state = 'dead')
FROM alert_receivers AS receiver WHERE deleted_at IS NULL AND (%(id)s::integer IS NULL OR id = %(id)s) ORDER BY id
"""
_INSERT = f"""
INSERT INTO alert_receivers ({", ".join(COLUMNS)}) VALUES ({", ".join(f"%({column})s" for column in COLUMNS)})
ON CONFLICT DO NOTHING RETURNING id
"""
_DELETE = """
UPDATE alert_receivers SET deleted_at = now(), url = '', secret = '', template = '' WHERE id = %s AND deleted_at IS NULL
"""


def list_receivers(stores: Stores, receiver_id: int | None = None) -> list[dict[str, Any]]:
    """What may be shown of all receivers, or of one (then empty if there is none)."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        return _shown(cursor, receiver_id)


def insert_receiver(stores: Stores, receiver: Mapping[str, Any]) -> dict[str, Any]:
    """Store a receiver and answer it.

    Raises:
        Conflict: its name is taken, or there are too many.
    """
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alert_receivers WHERE deleted_at IS NULL")
        if _first(cursor) >= MAX_RECEIVERS:
            raise Conflict(f"there are {MAX_RECEIVERS} receivers already; delete one first")
        cursor.execute(_INSERT, dict(receiver))
        if not cursor.rowcount:
            raise _taken(receiver["name"])
        return _shown(cursor, _first(cursor))[0]


def change_receiver(stores: Stores, receiver_id: int, changes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Change what is given; None if there is none. What waits for one that is now disabled is ended.

    Raises:
        Conflict: its new name is taken.
    """
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        if "name" in changes:
            taken = "SELECT count(*) FROM alert_receivers WHERE name = %s AND id <> %s AND deleted_at IS NULL"
            cursor.execute(taken, (changes["name"], receiver_id))
            if _first(cursor):
                raise _taken(changes["name"])
        columns = [column for column in COLUMNS if column in changes]
        sets = "".join(f", {column} = %({column})s" for column in columns)
        statement = f"UPDATE alert_receivers SET updated_at = now(){sets} WHERE id = %(id)s AND deleted_at IS NULL"
        cursor.execute(statement, {**changes, "id": receiver_id})
        if not cursor.rowcount:
            return None
        if changes.get("enabled") is False:
            end_deliveries(cursor, receiver_id, "the receiver was disabled")
        return _shown(cursor, receiver_id)[0]


def delete_receiver(stores: Stores, receiver_id: int) -> bool:
    """Delete one, and end what waits for it; False if there is none, or no more."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute(_DELETE, (receiver_id,))
        if not cursor.rowcount:
            return False
        end_deliveries(cursor, receiver_id, "the receiver was deleted")
        return True


def _shown(cursor: Cursor, receiver_id: int | None) -> list[dict[str, Any]]:
    cursor.execute(_LIST, {"id": receiver_id})
    found = [dict(zip((*_SHOWN, "waiting", "dead"), row, strict=True)) for row in cursor.fetchall()]
    return [{**row, "url": masked_url(row["kind"], row["url"])} for row in found]


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a receiver named {name!r} already", "name")


def _first(cursor: Cursor) -> int:
    row = cursor.fetchone()
    assert row, "the statement answers a row"
    return int(row[0])
