# ruff: noqa: S608 - only constants of this module are text; values travel as parameters
"""The outbox as people see it: what was delivered, what waits, what is dead and why; retries and trials."""

from collections.abc import Mapping
from typing import Any

from common.database import transaction
from common.outbox import CHANNEL, queue_trial
from web.paging import by_id, one_page
from web.queries.pieces import instant
from web.stores import Stores

_COLUMNS = f"""
delivery.id, receiver_id, receiver.name AS receiver, event_key AS event_id, alert_id, trial, state, attempts,
{instant("next_at")} AS next_at, last_error, {instant("delivery.created_at")} AS created_at,
{instant("finished_at")} AS finished_at, body
"""
_RETRY = """
UPDATE alert_deliveries AS delivery SET state = 'waiting', attempts = 0, next_at = now(), queued_at = now(), finished_at = NULL
FROM alert_receivers AS receiver
WHERE receiver.id = delivery.receiver_id AND receiver.enabled AND receiver.deleted_at IS NULL
"""
_ALERT = """
SELECT id, alert_type, symbol_pair, timeframe, status, severity, note, (condition->>'threshold')::float8
FROM alerts WHERE id = %s AND deleted_at IS NULL
"""
_TRIED = ("id", "alert_type", "symbol_pair", "timeframe", "status", "severity", "note", "threshold")


def list_deliveries(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of deliveries, newest first."""
    query = by_id(query)
    names = [name for name in ("state", "receiver_id", "alert_id") if query.get(name) is not None]
    filters = "".join(f" AND delivery.{name} = %({name})s" for name in names)
    before = " AND delivery.id < %(before)s" if query["before"] is not None else ""
    found = f"SELECT * FROM alert_deliveries AS delivery WHERE true{filters}{before}"
    shown = (
        f"SELECT {_COLUMNS} FROM page AS delivery JOIN alert_receivers AS receiver ON receiver.id = receiver_id"
        " ORDER BY delivery.id DESC"
    )
    return one_page(stores, query, "deliveries", found, "id DESC", shown, "id")


def delivery_state(stores: Stores, delivery_id: int) -> str | None:
    """The state of a delivery, None if there is none."""
    row = stores.row("SELECT state FROM alert_deliveries WHERE id = %(id)s", {"id": delivery_id})
    return str(row[0]) if row else None


def retry_delivery(stores: Stores, delivery_id: int) -> bool:
    """Let one that is dead or ended wait again; False if it is neither, or its receiver is disabled or deleted."""
    return _retry(stores, "AND delivery.id = %(id)s AND state IN ('dead', 'ended')", {"id": delivery_id}) > 0


def retry_dead(stores: Stores, receiver_id: int | None) -> int:
    """Let all that are dead wait again, of one receiver or of all; answers how many."""
    which = "AND state = 'dead' AND (%(id)s::integer IS NULL OR receiver_id = %(id)s)"
    return _retry(stores, which, {"id": receiver_id})


def try_alert(stores: Stores, alert_id: int) -> list[int] | None:
    """Queue a trial of an alert for all that it would reach; the ids of the deliveries, None if there is no such alert."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute(_ALERT, (alert_id,))
        row = cursor.fetchone()
        if not row:
            return None
        return queue_trial(cursor, trial_event(dict(zip(_TRIED, row, strict=True))))


def try_receiver(stores: Stores, receiver_id: int, event: Mapping[str, Any]) -> list[int]:
    """Queue a trial for one receiver; empty if there is no such receiver, or it is disabled."""
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        return queue_trial(cursor, event, receiver_id)


def trial_event(alert: Mapping[str, Any]) -> dict[str, Any]:
    """An event that says of itself that nothing happened."""
    return {
        **alert, "event_id": None, "transition": "triggered", "value": None, "timestamp": None,
        "details": {"trial": "somebody asked for this message to see that it arrives"},
    }  # fmt: skip


def _retry(stores: Stores, which: str, params: Mapping[str, Any]) -> int:
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute(f"{_RETRY} {which}", params)
        count = cursor.rowcount
        cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return count
