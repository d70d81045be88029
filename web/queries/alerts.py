# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Rows of `alerts`; a deleted one stays in the table, for its events name it."""

from collections.abc import Mapping
from typing import Any

from psycopg2.extras import Json

from common.database import transaction
from web.queries.pieces import as_list, instant, within
from web.stores import Stores

MAX_ID = 2**63 - 1
_INSERT = """
INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe, expires_at)
VALUES (%(alert_type)s, %(symbol_pair)s, %(condition)s, %(timeframe)s, %(expires_at)s)
RETURNING json_build_object('id', id, 'alert_type', alert_type, 'symbol_pair', symbol_pair, 'status', status,
    'condition', condition, 'timeframe', timeframe)::text
"""
_DELETE = "UPDATE alerts SET deleted_at = now() WHERE id = %(id)s AND deleted_at IS NULL RETURNING id"


def list_alerts(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"alerts": [...], "count"}` of what is not deleted."""
    way = "DESC" if query["order"] == "desc" else "ASC"
    filters = "".join(f" AND {name} = %({name})s" for name in ("status", "symbol_pair") if query.get(name))
    living = f"alerts WHERE deleted_at IS NULL{filters}{within(query, 'created_at')}"
    newest = f"SELECT * FROM {living} ORDER BY id DESC LIMIT %(limit)s"
    stamps = ", ".join(f"{instant(name)} AS {name}" for name in ("triggered_at", "created_at", "expires_at"))
    columns = f"id, alert_type, symbol_pair, condition, timeframe, status, firing, trigger_value, {stamps}"
    return stores.text(as_list("alerts", f"SELECT {columns} FROM ({newest}) AS newest ORDER BY newest.id {way}"), query)


def insert_alert(stores: Stores, alert: Mapping[str, Any]) -> str:
    """Store an alert and answer it."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute(_INSERT, {**alert, "condition": Json(alert["condition"])})
        row = cursor.fetchone()
    assert row, "just inserted"
    return str(row[0])


def delete_alert(stores: Stores, alert_id: int) -> bool:
    """Mark an alert as deleted; False if there is none, or no more."""
    if alert_id > MAX_ID:
        return False
    return stores.row(_DELETE, {"id": alert_id}) is not None
