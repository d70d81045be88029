"""PostgreSQL and Redis for work that goes on through their outages."""

from collections.abc import Callable
from typing import TypeVar

import psycopg2
import redis
from psycopg2.extensions import connection as Connection

from common.database import connect_database, transient
from common.layout import keep_layout
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.streams import connect_redis

Result = TypeVar("Result")

log = get_logger(__name__)


class Stopped(Exception):
    """The process was asked to stop while it waited."""


class Patient:
    """A session of each; `of_database` and `of_redis` try again until they succeed or the process is asked to stop.

    What is tried may run twice: it must be harmless to repeat. While waiting, `meanwhile` is called about every second.
    """

    def __init__(self, settings: Settings, stop: Stop, name: str) -> None:
        self._settings, self.stop, self._name = settings, stop, name
        self._connection: Connection | None = None
        self.redis: redis.Redis = connect_redis(settings, socket_timeout=10)
        self.meanwhile: Callable[[], None] = lambda: None

    def of_database(self, ask: Callable[[Connection], Result]) -> Result:
        """The answer of `ask(connection)`."""
        delays_s = backoff_s(0.1, 5.0)
        while True:
            try:
                return self.once_of_database(ask)
            except psycopg2.Error as exc:
                if not transient(exc):
                    raise
                self.rest(next(delays_s), f"PostgreSQL: {str(exc).strip().splitlines()[0]}", idle=True)

    def once_of_database(self, ask: Callable[[Connection], Result]) -> Result:
        """The answer of `ask(connection)`, without patience; after an error the next call connects anew."""
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect_database(self._settings, self._name)
            return ask(self._connection)
        except psycopg2.Error:
            if self._connection is not None:
                self._connection.close()
            raise

    def of_redis(self, ask: Callable[[redis.Redis], Result]) -> Result:
        """The answer of `ask(client)`; every error of Redis is waited out, for its operator can mend all of them."""
        delays_s = backoff_s(0.1, 5.0)
        while True:
            try:
                return ask(self.redis)
            except (redis.RedisError, OSError) as exc:
                self.rest(next(delays_s), f"Redis: {exc}")

    def keep_layout(self) -> None:
        """Before the first entry: the streams may be those of GEMS_SHARDS.

        Raises:
            ConfigError: those of another number are not drained.
        """
        self.of_redis(lambda client: self.of_database(lambda connection: keep_layout(self._settings, client, connection)))

    def rest(self, delay_s: float, cause: str, idle: bool = False) -> None:
        """Wait before the next try; `idle`: leave `meanwhile` alone."""
        log.warning("waiting for %s; next try in %.1f s", cause, delay_s)
        if self.stop.wait(delay_s):
            raise Stopped
        if not idle:
            self.meanwhile()

    def close(self) -> None:
        """Leave both."""
        self.redis.close()
        if self._connection is not None:
            self._connection.close()
