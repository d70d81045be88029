"""What people do to an alert: its new state and the event of it, in one transaction that the aggregator waits for."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import redis
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from common.alertkinds import KINDS
from common.alertstates import FIRING, State
from common.alertstore import RULES_LOCK, event_of, insert_events
from common.database import transaction
from common.events import Event, publish
from common.log import get_logger
from web.queries.alerts import MAX_ID
from web.stores import Stores

log = get_logger(__name__)

_FIND = """
SELECT id, alert_type, symbol_pair, timeframe, condition, severity, note, state, expires_at FROM alerts
WHERE id = %s AND deleted_at IS NULL FOR UPDATE
"""
_CHANGE = """
UPDATE alerts SET state = %(state)s, status = %(status)s, firing = %(firing)s, condition = %(condition)s,
    timeframe = %(timeframe)s, severity = %(severity)s, note = %(note)s, expires_at = %(expires_at)s, updated_at = now(),
    version = next_alert_change()
WHERE id = %(id)s
"""


class Found(NamedTuple):
    """An alert as it stands."""

    id: int
    alert_type: str
    symbol_pair: str
    timeframe: str
    condition: dict[str, Any]
    severity: str
    note: str
    state: dict[str, Any]
    expires_at: datetime | None

    @property
    def now(self) -> State:
        """Where its state machine stands."""
        return State.from_json(self.state)

    @property
    def once(self) -> bool:
        """True if it fires a single time."""
        return bool(self.condition.get("once"))


class Change(NamedTuple):
    """A transition by hand: its name, the state after it, details of the event, and columns that change."""

    transition: str
    state: State
    details: Mapping[str, Any] = {}
    columns: Mapping[str, Any] = {}


def change_alert(stores: Stores, alert_id: int, decide: Callable[[Found, int], Change]) -> bool:
    """Do what `decide(alert, now_us)` says (it may raise a Problem: then nothing is done); False if there is no such alert."""
    if alert_id > MAX_ID:
        return False
    now_us = time.time_ns() // 1000
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (RULES_LOCK,))
        cursor.execute(_FIND, (alert_id,))
        row = cursor.fetchone()
        if row is None:
            return False
        found = Found(*row)
        events = _apply(cursor, found, decide(found, now_us), now_us)
    _tell(stores, events)
    return True


def _apply(cursor: Cursor, found: Found, change: Change, now_us: int) -> list[dict[str, Any]]:
    alert = {**found._asdict(), **change.columns}
    status = change.state.status(bool(alert["condition"].get("once")))
    state = {"state": Json(change.state.to_json()), "status": status, "firing": change.state.name in FIRING}
    cursor.execute(_CHANGE, {**alert, **state, "condition": Json(alert["condition"])})
    alert["threshold"] = alert["condition"].get("threshold", KINDS[found.alert_type].default)
    return insert_events(cursor, [event_of(alert, change.transition, status, now_us, None, change.details)], now_us)


def _tell(stores: Stores, events: list[dict[str, Any]]) -> None:
    """Live listeners hear of it; the change itself is committed, so Redis being away is no failure of it."""
    try:
        publish(stores.redis, [Event("alert", event) for event in events])
    except redis.RedisError as exc:
        log.warning("live listeners were not told of %d alert events: %s", len(events), exc)
