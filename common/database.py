"""PostgreSQL: connections, and which of its errors pass by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2.extensions import connection as Connection

from common.errors import ConfigError
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings

SCHEMA_REVISION = "0007"
#: SQLSTATE classes that pass: connection, rollback, resources, lock, operator, system, internal.
_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "XX")
#: SQLSTATE classes that name a fault in the rows: bad values, broken constraints.
_ROW_CLASSES = ("22", "23")

log = get_logger(__name__)


def connect_database(settings: Settings, name: str = "gems", autocommit: bool = False) -> Connection:
    """A session in UTC; `name` is what `pg_stat_activity` shows.

    Raises:
        psycopg2.OperationalError: the server is away (`transient` says True of it).
    """
    options = "-c timezone=UTC -c lock_timeout=30s"
    connection: Connection = psycopg2.connect(
        settings.database_url, application_name=name, options=options, connect_timeout=5,
        keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
    )  # fmt: skip
    connection.autocommit = autocommit
    return connection


def transient(error: BaseException) -> bool:
    """True if trying again may help; the entry or row at hand is not to blame."""
    if not isinstance(error, psycopg2.Error):
        return False
    state = error.pgcode or ""
    if not state:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return state[:2] in _TRANSIENT_CLASSES


def blames_a_row(error: psycopg2.Error) -> bool:
    """True if the server refused a value or a constraint: a data error, not an outage."""
    return (error.pgcode or "")[:2] in _ROW_CLASSES


@contextmanager
def transaction(connection: Connection) -> Iterator[Connection]:
    """Commit at the end; roll back on any error, also where the session is already gone."""
    try:
        yield connection
        connection.commit()
    except BaseException:
        if not connection.closed:
            try:
                connection.rollback()
            except psycopg2.Error:
                connection.close()
        raise


def wait_for_schema(settings: Settings, stop: Stop, name: str) -> Connection | None:
    """A session once the server answers and its tables are of this version; None if asked to stop first."""
    if not settings.database_url:
        raise ConfigError("GEMS_DATABASE_URL: is not set; start with ./gems up, or name your own PostgreSQL")
    for delay_s in backoff_s(0.1, 2.0):
        try:
            connection = connect_database(settings, name)
            found = schema_revision(connection)
            if found == SCHEMA_REVISION:
                return connection
            connection.close()
            reason = f"the tables are of version {found}, this program needs {SCHEMA_REVISION}"
        except psycopg2.OperationalError as exc:
            reason = str(exc).strip().splitlines()[0]
        log.info("waiting for PostgreSQL: %s; next try in %.1f s", reason, delay_s)
        if stop.wait(delay_s):
            break
    return None


def schema_revision(connection: Connection) -> str | None:
    """The migration the tables are of; None before the first."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        if not cursor.fetchone()[0]:  # type: ignore[index]
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
        return str(row[0]) if row else None
