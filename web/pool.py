"""A pool of PostgreSQL sessions that stay open, and are asked whether they live only where that is in doubt."""

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

#: None is opened past it: a session that is made for one request costs more than the request.
POOL_SIZE = 16
POOL_TIMEOUT_S = 5
#: One that was used more recently lives unless its socket says otherwise; to ask each time is a round trip a request.
PING_AFTER_S = 1.0


def make_pool(connect: Callable[[], Connection]) -> Engine:
    """Sessions are opened at need. Those that a restarted server has left dead are replaced before a request meets one."""
    engine = create_engine(
        "postgresql+psycopg2://", creator=connect, pool_use_lifo=True,
        pool_size=POOL_SIZE, max_overflow=0, pool_timeout=POOL_TIMEOUT_S,
    )  # fmt: skip

    def note_use(connection: Connection | None, record: Any) -> None:
        record.info["used_s"] = time.monotonic()

    def require_alive(connection: Connection, record: Any, proxy: Any) -> None:
        rested_s = time.monotonic() - record.info["used_s"]
        if rested_s < PING_AFTER_S and not _has_something_to_say(connection):
            return
        try:
            engine.dialect.do_ping(connection)  # type: ignore[arg-type]
        except psycopg2.Error as exc:
            raise InvalidatePoolError from exc

    event.listen(engine, "connect", lambda connection, record: note_use(connection, record))
    event.listen(engine, "checkin", note_use)
    event.listen(engine, "checkout", require_alive)
    return engine


def _has_something_to_say(connection: Connection) -> bool:
    """A server that ends a session says so; unasked, nothing else comes."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))
