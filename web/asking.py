"""Questions to PostgreSQL and Redis with a deadline that holds whatever the server does.

A server that is stopped, or whose disk hangs, keeps its connections open and says nothing: libpq then waits for ever, and one
question of a probe after the other would take a thread of the web each.
"""

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
import redis
from psycopg2 import extensions

from common.errors import StoreUnavailable
from common.settings import Settings
from common.streams import connect_redis

DEADLINE_S = 2.0


class Asked:
    """A session for a few statements, all of which end by the deadline."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._until_s, self._seconds = time.monotonic() + seconds, seconds
        options = f"-c timezone=UTC -c statement_timeout={seconds * 1000:.0f}"
        self._connection: Any = psycopg2.connect(
            settings.database_url, application_name="web probe", options=options, async_=True
        )
        try:
            self._wait()
        except BaseException:
            self._connection.close()
            raise

    def row(self, statement: str, params: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The first row of a statement that always answers one.

        Raises:
            StoreUnavailable: no answer by the deadline.
            psycopg2.Error: as ever.
        """
        cursor = self._connection.cursor()
        cursor.execute(statement, params)
        self._wait()
        found: tuple[Any, ...] = cursor.fetchone()
        return found

    def close(self) -> None:
        """End the session; nothing is waited for."""
        self._connection.close()

    def _wait(self) -> None:
        while (state := self._connection.poll()) != extensions.POLL_OK:
            poller = select.poll()
            poller.register(self._connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
            left_s = self._until_s - time.monotonic()
            if left_s <= 0 or not poller.poll(left_s * 1000):
                raise StoreUnavailable(f"PostgreSQL has not answered within {self._seconds:g} s")


@contextmanager
def asked(settings: Settings, seconds: float = DEADLINE_S) -> Iterator[Asked]:
    """Ask PostgreSQL in a session of its own, which never waits for the pool.

    Raises:
        StoreUnavailable: it has not let us in by the deadline.
    """
    asking = Asked(settings, seconds)
    try:
        yield asking
    finally:
        asking.close()


def hasty_redis(settings: Settings, seconds: float = DEADLINE_S) -> redis.Redis:
    """A client that gives up soon."""
    return connect_redis(settings, socket_timeout=seconds, socket_connect_timeout=seconds)
