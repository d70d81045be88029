"""The real PostgreSQL and Redis that tests run against: one pair a session, a fresh database a test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg2
from psycopg2 import sql

from ops.embedded import PrivateServers
from ops.migrate import migrate

#: A killed process loses nothing without fsync, only a killed machine does; and tests kill processes.
POSTGRES_ARGS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=128MB")
REDIS_ARGS = ("--unrestricted", "--appendfsync", "no")


@contextmanager
def private_servers() -> Iterator[PrivateServers]:
    """A PostgreSQL and a Redis of one's own in a temporary folder, gone at the end: for tests that kill them."""
    folder = Path(tempfile.mkdtemp(prefix="gems-test-"))
    try:
        with PrivateServers(folder, POSTGRES_ARGS, REDIS_ARGS) as servers:
            yield servers
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class FreshDatabases:
    """Databases with all tables and no rows, copied from a template that is migrated once."""

    def __init__(self, servers: PrivateServers) -> None:
        self._servers, self._numbers = servers, count(1)
        migrate(servers.postgres_url("gems_template"))
        self._admin = psycopg2.connect(servers.postgres_url())
        self._admin.autocommit = True

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a fresh database; it is dropped at the end, whoever is still connected."""
        name = f"gems_test_{next(self._numbers)}"
        # by copying the files: a quarter of the time of the default, which writes every page to the log
        self._run("CREATE DATABASE {} TEMPLATE gems_template STRATEGY file_copy", name)
        try:
            yield self._servers.postgres_url(name)
        finally:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def close(self) -> None:
        """Leave the server."""
        self._admin.close()

    def _run(self, statement: str, name: str) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))
