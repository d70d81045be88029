"""Events of alerts as they are stored: whoever changes the state of a rule writes the event in the same transaction.

People change rules in transactions that hold `RULES_LOCK` alone; the aggregator holds it shared from before it reads them until
its commit. So neither overwrites what the other has just written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json, execute_values

from common.alertstates import TOLD
from common.codec import iso_us
from common.outbox import queue_deliveries
from common.trades import from_us, to_us

RULES_LOCK = 0x6765_6D73_0010
#: Receivers hear of a late crossing only if it is this near to the newest row: an import of last year wakes nobody.
TOLD_LATE_S = 600
_INSERT = """
INSERT INTO alert_events AS e (alert_id, transition, bar_timestamp, value, details, silenced) VALUES %s
ON CONFLICT (alert_id, bar_timestamp, transition) DO UPDATE SET value = excluded.value, details = excluded.details
    WHERE e.transition = 'annotated'
RETURNING id, alert_id, transition, bar_timestamp
"""
_SILENCED = """
SELECT DISTINCT symbol_pair FROM alert_silences WHERE symbol_pair = ANY(%s) AND ended_at IS NULL AND until > %s
"""


def event_of(
    alert: Mapping[str, Any], transition: str, status: str, us: int, value: float | None, details: Mapping[str, Any]
) -> dict[str, Any]:
    """An event of an alert (its id, alert_type, symbol_pair, timeframe, severity, note, threshold) at a moment."""
    named = {name: alert[name] for name in ("id", "alert_type", "symbol_pair", "timeframe", "severity", "note", "threshold")}
    return {
        **named, "transition": transition, "status": status, "timestamp": iso_us(us), "us": us, "value": value,
        "details": dict(details),
    }  # fmt: skip


def insert_events(cursor: Cursor, events: Sequence[dict[str, Any]], now_us: int) -> list[dict[str, Any]]:
    """Write events of `event_of`, and queue what receivers are told; answers those that were not there yet, ready for `live`.

    An event is there once for a rule, moment and transition; `annotated` alone is written again. A pair or symbol that is
    silenced at `now_us` (microseconds since 1970) has its events recorded and told live, not delivered.
    """
    by_key = {(event["id"], event["transition"], event["us"]): event for event in events}
    if not by_key:
        return []
    silenced = _silenced(cursor, {event["symbol_pair"] for event in events}, now_us)
    rows = [
        (alert_id, transition, from_us(us), event["value"], Json(event["details"]), event["symbol_pair"] in silenced)
        for (alert_id, transition, us), event in by_key.items()
    ]
    found = execute_values(cursor, _INSERT, rows, page_size=1_000, fetch=True)
    told = []
    for event_id, alert_id, transition, moment in sorted(found):
        event = by_key[alert_id, transition, to_us(moment)]
        body = {name: value for name, value in event.items() if name != "us"}
        told.append({"event_id": event_id, **body, "silenced": event["symbol_pair"] in silenced})
    for body in told:
        if body["transition"] in TOLD and not body["silenced"] and body["details"].get("behind_s", 0) <= TOLD_LATE_S:
            queue_deliveries(cursor, body)
    return told


def _silenced(cursor: Cursor, subjects: set[str], now_us: int) -> set[str]:
    cursor.execute(_SILENCED, (sorted(subjects), from_us(now_us)))
    return {row[0] for row in cursor.fetchall()}
