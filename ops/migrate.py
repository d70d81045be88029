"""`python -m ops.migrate`: bring the tables of GEMS_DATABASE_URL to this version, then exit 0.

Safe to run any number of times, also at once: a session advisory lock lets one work and the others look.
"""

import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import errors, sql

from common.database import SCHEMA_REVISION, schema_revision, transient
from common.errors import ConfigError, StoreUnavailable
from common.lifecycle import Stop, backoff_s, run
from common.log import get_logger
from common.settings import Settings
from ops.servers.instance import instance_urls

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_LOCK_KEY = 0x47454D53  # "GEMS"
_WAIT_S = 300.0

log = get_logger(__name__)


def main(settings: Settings, stop: Stop) -> None:
    """Wait for PostgreSQL, make the database if it is missing, upgrade.

    Raises:
        StoreUnavailable: PostgreSQL has not answered within five minutes.
        ConfigError: it answers, but its tables can not become those of this version.
    """
    url, _ = instance_urls(settings)
    deadline = time.monotonic() + _WAIT_S
    for delay_s in backoff_s(0.1, 2.0):
        try:
            migrate(url)
            log.info("the tables are up to date")
            return
        except psycopg2.Error as exc:
            reason = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            if not transient(exc):
                raise ConfigError(f"GEMS_DATABASE_URL: the tables can not be brought to this version: {reason}") from exc
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"PostgreSQL has not answered for {_WAIT_S:.0f} s: {reason}")
        log.info("waiting for PostgreSQL: %s; next try in %.1f s", reason, delay_s)
        if stop.wait(delay_s):
            return


def migrate(url: str) -> None:
    """Make the database of a libpq URL if it is missing, and bring its tables to the newest version."""
    ensure_database(url)
    lock = psycopg2.connect(url, application_name="migrate", connect_timeout=5)
    try:
        lock.autocommit = True
        with lock.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        if schema_revision(lock) != SCHEMA_REVISION:  # else importing Alembic would be the slowest part of a start
            _upgrade(url)
    finally:
        lock.close()


def ensure_database(url: str) -> None:
    """Create the database that a URL names, if the server has none of that name.

    Raises:
        ConfigError: it is missing and this user may not create it.
    """
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as exc:
        name = unquote(urlsplit(url).path.lstrip("/"))
        if f'database "{name}" does not exist' not in str(exc):
            raise
        _create_database(url, name)


def _create_database(url: str, name: str) -> None:
    server = psycopg2.connect(urlsplit(url)._replace(path="/postgres").geturl(), connect_timeout=5)
    try:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        log.info("made database %s", name)
    except (errors.DuplicateDatabase, errors.UniqueViolation):
        log.info("database %s was made by another process", name)
    except errors.InsufficientPrivilege as exc:
        raise ConfigError(f"GEMS_DATABASE_URL: database {name} does not exist and this user may not create it") from exc
    finally:
        server.close()


def _upgrade(url: str) -> None:
    import sqlalchemy
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(url, application_name="migrate"),
        poolclass=sqlalchemy.pool.NullPool,
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sqlalchemy.exc.DBAPIError as exc:
        if isinstance(exc.orig, psycopg2.Error):
            raise exc.orig from exc
        raise
    except CommandError as exc:
        raise ConfigError(f"GEMS_DATABASE_URL: its tables are of another, perhaps a newer GEMS: {exc}") from exc


if __name__ == "__main__":
    run("migrate", main)
