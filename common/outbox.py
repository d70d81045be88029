"""The outbox: who writes an alert event queues its deliveries in the same transaction; the notifier makes them.

States of a delivery: waiting -> delivered | dead (given up, with its reason) | ended (its receiver was disabled or deleted).
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

#: Mildest first.
SEVERITIES = ("info", "warning", "critical")
#: PostgreSQL tells the notifier on this channel, at the commit, that something was queued.
CHANNEL = "gems_outbox"
BODY_VERSION = 1
#: What a receiver is told of an event, in this order, after `version` and `trial`; the names are those of the live event.
EVENT_KEYS = (
    "event_id", "id", "alert_type", "symbol_pair", "timeframe", "transition", "status", "severity", "note", "timestamp",
    "value", "threshold", "details",
)  # fmt: skip
#: Transitions that end an alert: only for receivers with `send_resolved`.
ENDINGS = frozenset({"cleared", "expired"})

_QUEUE = """
INSERT INTO alert_deliveries (receiver_id, event_key, alert_id, trial, body)
SELECT id, %(event_key)s, %(alert_id)s, %(trial)s, %(body)s FROM alert_receivers
WHERE enabled AND deleted_at IS NULL
  AND (%(chosen)s::integer IS NULL OR id = %(chosen)s)
  AND (%(chosen)s::integer IS NOT NULL OR min_severity = ANY(%(up_to)s)
       AND (alert_types = '{}' OR %(alert_type)s = ANY(alert_types))
       AND (symbol_pairs = '{}' OR %(symbol_pair)s = ANY(symbol_pairs))
       AND (send_resolved OR NOT %(ends)s))
ORDER BY id
ON CONFLICT (receiver_id, event_key) DO NOTHING RETURNING id
"""
_END = """
UPDATE alert_deliveries SET state = 'ended', last_error = %s, finished_at = now() WHERE receiver_id = %s AND state = 'waiting'
"""


def queue_deliveries(cursor: Cursor, event: Mapping[str, Any]) -> None:
    """Queue an event for each enabled receiver whose filters take it; the caller's commit makes it true.

    `event` has the `EVENT_KEYS`; `event_id` is the id of its row in `alert_events` and makes a second call harmless.
    """
    _queue(cursor, event, str(event["event_id"]), trial=False)


def queue_trial(cursor: Cursor, event: Mapping[str, Any], receiver_id: int | None = None) -> list[int]:
    """Queue a trial, for one receiver whatever it filters, or for all that an event like this would reach; their ids."""
    return _queue(cursor, event, f"trial-{uuid.uuid4()}", trial=True, chosen=receiver_id)


def end_deliveries(cursor: Cursor, receiver_id: int, reason: str) -> int:
    """What still waits for a receiver will not be delivered; answers how many."""
    cursor.execute(_END, (reason, receiver_id))
    return cursor.rowcount


def message_body(event: Mapping[str, Any], trial: bool) -> dict[str, Any]:
    """What every receiver of an event is told."""
    return {"version": BODY_VERSION, "trial": trial, **{key: event.get(key) for key in EVENT_KEYS}}


def severities_up_to(severity: str) -> Sequence[str]:
    """The least severities that an event of this one satisfies; one that nobody knows satisfies all."""
    return SEVERITIES[: SEVERITIES.index(severity) + 1] if severity in SEVERITIES else SEVERITIES


def _queue(
    cursor: Cursor, event: Mapping[str, Any], event_key: str, *, trial: bool, chosen: int | None = None
) -> list[int]:
    asked = {
        "event_key": event_key, "alert_id": event.get("id"), "trial": trial, "chosen": chosen,
        "body": Json(message_body(event, trial), dumps=_json), "up_to": list(severities_up_to(event["severity"])),
        "alert_type": event["alert_type"], "symbol_pair": event["symbol_pair"], "ends": event["transition"] in ENDINGS,
    }  # fmt: skip
    cursor.execute(_QUEUE, asked)
    made = [int(row[0]) for row in cursor.fetchall()]
    if made:
        cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    return made


def _json(body: Any) -> str:
    """JSON that PostgreSQL takes whatever the details hold: an event must not fail because of its message."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(body, default=str, option=options).decode().replace("\\u0000", "")
