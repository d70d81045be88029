# ruff: noqa: S608 - names are of this file
"""A notifier in the test's own process, on the test's own outbox."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import connection as Connection

from aggregator.notifier.service import work
from common.database import transaction
from common.lifecycle import Stop
from common.outbox import queue_deliveries
from common.settings import Settings

SECRET = "a secret of the test"


def add_receiver(database: Connection, name: str, url: str, **columns: Any) -> int:
    """A webhook that takes everything, unless said otherwise."""
    row = {"name": name, "kind": "webhook", "url": url, "secret": SECRET, **columns}
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    return int(rows(database, f"INSERT INTO alert_receivers ({names}) VALUES ({places}) RETURNING id", row)[0][0])


def event(event_id: int = 1, **fields: Any) -> dict[str, Any]:
    """An event as the alert stage writes it."""
    return {
        "event_id": event_id, "id": 7, "alert_type": "zscore_high", "symbol_pair": "BTCUSDT_ETHUSDT", "timeframe": "1s",
        "transition": "triggered", "status": "triggered", "severity": "warning", "note": "look at it",
        "timestamp": "2026-01-15T12:00:00.000000Z", "value": 2.5, "threshold": 2.0, "details": {"z_score": 2.5}, **fields,
    }  # fmt: skip


def queue(database: Connection, *events: dict[str, Any]) -> None:
    """Queue them, each in a transaction of its own."""
    for each in events:
        with transaction(database), database.cursor() as cursor:
            queue_deliveries(cursor, each)


def rows(database: Connection, query: str, params: Any = None) -> list[tuple[Any, ...]]:
    """What a query answers now."""
    with transaction(database), database.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchall() if cursor.description else []


def states(database: Connection) -> list[tuple[Any, ...]]:
    """(event key, state, attempts, last error) of each delivery, oldest first."""
    return rows(database, "SELECT event_key, state, attempts, last_error FROM alert_deliveries ORDER BY id")


@contextmanager
def notifying(settings: Settings, **changes: Any) -> Iterator[None]:
    """A notifier that may reach this machine."""
    stop = Stop()
    given = settings.model_copy(update={"notify_private": True, **changes})
    thread = threading.Thread(target=work, args=(given, stop))
    thread.start()
    try:
        yield
    finally:
        stop.ask()
        thread.join(30)
        assert not thread.is_alive()


def until(reached: Callable[[], Any], what: str, deadline_s: float = 60.0) -> Any:
    """What `reached` answers once it is true."""
    end_s = time.monotonic() + deadline_s
    while not (found := reached()):
        assert time.monotonic() < end_s, f"after {deadline_s} s there was still no {what}"
        time.sleep(0.02)
    return found
