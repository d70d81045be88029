"""The real PostgreSQL and Redis that tests run against: one pair a session, a fresh database a test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from ops.embedded import PrivateServers
from ops.migrate import migrate

#: A killed process loses nothing without fsync, only a killed machine does; and tests kill processes.
POSTGRES_ARGS = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=128MB")
REDIS_ARGS = ("--unrestricted", "--appendfsync", "no")
#: Linux keeps what lies here in memory. A fresh database is 400 small files: on a busy disk they take twenty times as long.
MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


@contextmanager
def a_folder() -> Iterator[Path]:
    """A temporary folder for servers, gone at the end; in memory where there is plenty of it."""
    folder = Path(tempfile.mkdtemp(prefix="gems-test-", dir=MEMORY if _memory_is_roomy() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory_is_roomy() -> bool:
    """Containers have 64 MB there unless they are told otherwise, and what is full there would fail as a full disk does."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available // 2) >= _ROOM_BYTES


@contextmanager
def private_servers() -> Iterator[PrivateServers]:
    """A PostgreSQL and a Redis of one's own in a temporary folder, gone at the end: for tests that kill them."""
    with a_folder() as folder, PrivateServers(folder, POSTGRES_ARGS, REDIS_ARGS) as servers:
        yield servers


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
