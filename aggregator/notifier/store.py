# ruff: noqa: S608 - only constants of this module are text; values travel as parameters
"""The notifier's SQL, each call a transaction of its own on an autocommit session.

A receiver is claimed with an advisory lock of the session: a notifier that is killed gives up its receivers at that moment,
there is no lease to wait for. What it had sent and not recorded is sent again, with the same event id.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from aggregator.notifier.schedule import Head, Step

#: Deliveries of one receiver that are made in one turn.
TURN = 50
KEEP_DAYS = 30
DISABLED, DELETED = "the receiver was disabled", "the receiver was deleted"
_CLAIMS = 0x67656D04
_DUE_IN = "extract(epoch FROM delivery.next_at - clock_timestamp())::float8"
_HEADS = f"""
SELECT receiver.id, receiver.kind, delivery.attempts, {_DUE_IN}
FROM alert_receivers AS receiver CROSS JOIN LATERAL (
    SELECT attempts, next_at FROM alert_deliveries WHERE receiver_id = receiver.id AND state = 'waiting' ORDER BY id LIMIT 1
) AS delivery
WHERE receiver.enabled AND receiver.deleted_at IS NULL
"""
_RECEIVER = """
SELECT id, kind, url, secret, template FROM alert_receivers WHERE id = %s AND enabled AND deleted_at IS NULL
"""
_TURN = f"""
SELECT id, event_key, body, attempts, extract(epoch FROM clock_timestamp() - queued_at)::float8, {_DUE_IN}
FROM alert_deliveries AS delivery WHERE receiver_id = %s AND state = 'waiting' ORDER BY id LIMIT {TURN}
"""
_RECORD = """
UPDATE alert_deliveries SET state = %(state)s, attempts = attempts + 1, last_error = %(reason)s,
    next_at = clock_timestamp() + %(wait_s)s * interval '1 second',
    finished_at = CASE WHEN %(state)s <> 'waiting' THEN clock_timestamp() END
WHERE id = %(id)s AND (state = 'waiting' OR %(state)s = 'delivered')
"""
_END = """
UPDATE alert_deliveries AS delivery SET state = 'ended', finished_at = now(),
    last_error = CASE WHEN receiver.deleted_at IS NULL THEN %s ELSE %s END
FROM alert_receivers AS receiver
WHERE receiver.id = delivery.receiver_id AND delivery.state = 'waiting'
  AND (NOT receiver.enabled OR receiver.deleted_at IS NOT NULL)
"""
_FORGET = "DELETE FROM alert_deliveries WHERE finished_at < now() - %s * interval '1 day'"
_COUNTS = """
SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead'),
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')), 0)::float8
FROM alert_deliveries WHERE state IN ('waiting', 'dead')
"""


class Receiver(NamedTuple):
    """Whom a turn is for."""

    receiver_id: int
    kind: str
    url: str
    secret: str
    template: str


class Delivery(NamedTuple):
    """What a turn delivers; `attempts` are those before, `age_s` is since it was queued."""

    delivery_id: int
    event_key: str
    body: dict[str, Any]
    attempts: int
    age_s: float


class OutboxCounts(NamedTuple):
    """How the outbox does."""

    waiting: int
    dead: int
    oldest_waiting_s: float


def heads(connection: Connection) -> list[Head]:
    """The first waiting delivery of each enabled receiver that has one."""
    return [Head(*row) for row in _rows(connection, _HEADS)]


def claim(connection: Connection, receiver_id: int) -> tuple[Receiver, list[Delivery]] | None:
    """A receiver's next deliveries that are due, in order; None if another notifier serves it or nothing is due any more."""
    if not _rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", (_CLAIMS, receiver_id))[0][0]:
        return None
    receivers, due = _rows(connection, _RECEIVER, (receiver_id,)), list[Delivery]()
    for *found, due_in_s in _rows(connection, _TURN, (receiver_id,)):
        if due_in_s > 0:
            break  # what comes after it waits for it: order is kept
        due.append(Delivery(*found))
    if receivers and due:
        return Receiver(*receivers[0]), due
    release(connection, receiver_id)
    return None


def release(connection: Connection, receiver_id: int) -> None:
    """Anyone may serve it again."""
    _rows(connection, "SELECT pg_advisory_unlock(%s, %s)", (_CLAIMS, receiver_id))


def record(connection: Connection, delivery_id: int, step: Step) -> None:
    """What became of a delivery; only a delivered one overrules an end that came meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, {"id": delivery_id, **step._asdict()})


def end_unwanted(connection: Connection) -> int:
    """End what an event queued while its receiver was being disabled or deleted."""
    with connection.cursor() as cursor:
        cursor.execute(_END, (DISABLED, DELETED))
        return cursor.rowcount


def forget_old(connection: Connection) -> int:
    """Delete what ended 30 days ago."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, (KEEP_DAYS,))
        return cursor.rowcount


def outbox_counts(connection: Connection) -> OutboxCounts:
    """How many wait and are dead, and the age of the oldest that waits."""
    return OutboxCounts(*_rows(connection, _COUNTS)[0])


def _rows(connection: Connection, statement: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()
