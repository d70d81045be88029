"""PostgreSQL and Redis as the web uses them: a pool of sessions, a client, and ways to read JSON, and cells to make it of."""

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.database import connect_database
from common.errors import ConfigError, StoreUnavailable
from common.journal import Journal
from common.layout import keep_layout
from common.settings import Settings
from common.streams import connect_redis
from web.pool import POOL_TIMEOUT_S, make_pool
from web.sharing import Shared
from web.turns import Turns

STATEMENT_TIMEOUT_S = 10
#: What is asked for is nearly always in memory. Of a page that is read from disk, PostgreSQL would else rather read a symbol's
#: whole day in an index than the few pages of a BRIN index's range, each of which it takes for a random one.
PAGE_COST = 0.1
REDIS_TIMEOUT_S = 10
#: Whose answer's rows come in. psycopg2 gives the interpreter away at each row, so two threads that both take rows wait for each
#: other at every one of them: on two idle cores that made 500 bars cost 2.9 ms of the web's CPU instead of 1.5.
ROWS_TURN = threading.Lock()
_TURN_S = 0.1  # a slow question of another holds nobody up for longer
#: Pages that PostgreSQL works on at once. More of them do not make it faster, since this process takes one page's rows at a time;
#: they take the processor from each other and from the web, and the last is done late.
PAGES_AT_ONCE, _PAGE_TURN_S = 4, 0.5


class Stores:
    """Opened at the first use, so that the web starts without waiting for its servers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis: redis.Redis = connect_redis(settings, socket_timeout=REDIS_TIMEOUT_S)
        self.journal = Journal(settings)
        self._layout_is_kept = False
        self._shared: dict[str, Shared] = {}
        self._engine = make_pool(self._connect)
        self._pages = Turns(PAGES_AT_ONCE, _PAGE_TURN_S)

    @contextmanager
    def session(self, autocommit: bool = False) -> Iterator[Connection]:
        """A session of the pool; what is not committed is rolled back at the end."""
        with self._pooled(autocommit) as (connection, _):
            yield connection

    @contextmanager
    def page_session(self) -> Iterator[Connection]:
        """A session for a page of rows, each statement a transaction; in the order in which they were asked for."""
        with self._pages.one(), self.session(autocommit=True) as connection:
            yield connection

    @contextmanager
    def _pooled(self, autocommit: bool) -> Iterator[tuple[Connection, dict[str, Any]]]:
        """A session, and what is remembered of it as long as it is open."""
        pooled = self._engine.raw_connection()
        connection: Connection = pooled.driver_connection  # type: ignore[assignment]
        try:
            connection.autocommit = autocommit
            yield connection, pooled.info
        finally:
            if connection.closed:
                pooled.invalidate()
            pooled.close()

    def keep_layout(self, connection: Connection) -> None:
        """Before the first entry that this web appends: the streams may be those of GEMS_SHARDS. Ends the session's transaction.

        Raises:
            StoreUnavailable: those of another number are not drained.
        """
        if self._layout_is_kept:
            return
        try:
            keep_layout(self.settings, self.redis, connection)
        except ConfigError as exc:
            raise StoreUnavailable(str(exc)) from exc
        self._layout_is_kept = True

    def row(self, statement: str, params: Mapping[str, Any] | None = None) -> tuple[Any, ...] | None:
        """The first row that one statement answers, in a transaction of its own; None without one."""
        with self.session(autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()

    def text(self, statement: str, params: Mapping[str, Any] | None = None) -> str:
        """The JSON text that a statement of one row and one column builds."""
        row = self.row(statement, params)
        assert row, "an aggregate always answers a row"
        return str(row[0])

    def shared_text(self, name: str, statement: str) -> str:
        """As `text`, of a statement without parameters that is asked often: once for all who ask at the same time.

        Each session plans it once, under this name, which is its own in the whole program.
        """
        if name not in self._shared:
            self._shared.setdefault(name, Shared(lambda: self._planned_text(name, statement), POOL_TIMEOUT_S))
        return self._shared[name]()

    def _planned_text(self, name: str, statement: str) -> str:
        with self._pooled(autocommit=True) as (connection, remembered), connection.cursor() as cursor:
            if name not in remembered:
                cursor.execute(f"PREPARE {name} AS {statement}")
                remembered[name] = True
            cursor.execute(f"EXECUTE {name}")
            row = cursor.fetchone()
        assert row, "an aggregate always answers a row"
        return str(row[0])

    def cells(self, statement: str, params: Mapping[str, Any]) -> list[str]:
        """See `copied`; in a transaction of its own."""
        with self.page_session() as connection, connection.cursor() as cursor:
            return copied(cursor, statement, params)

    def close(self) -> None:
        """Close every session and connection that nobody uses."""
        self._engine.dispose()
        self.redis.close()
        self.journal.close()

    def _connect(self) -> Connection:
        connection = connect_database(self.settings, "web", autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'; SET seq_page_cost = {PAGE_COST};"
                f" SET random_page_cost = {PAGE_COST}; SET jit = off"  # compiling costs more than it saves
            )
        return connection


class _Rows(io.BytesIO):
    """Takes the rows of a COPY: from the first on alone, if the one before is done in time."""

    _has_turn: bool | None = None

    def write(self, row: Any, /) -> int:
        """Where it is the first, after the wait for its turn."""
        if self._has_turn is None:
            self._has_turn = ROWS_TURN.acquire(timeout=_TURN_S)
        return super().write(row)

    def close(self) -> None:
        """The next may take its rows."""
        if self._has_turn:
            self._has_turn = False
            ROWS_TURN.release()
        super().close()


def copied(cursor: Cursor, statement: str, params: Mapping[str, Any]) -> list[str]:
    """All cells of a statement's rows, one row after the other, as text that needs no escapes; NULL is `null`.

    By COPY, which gives a row at a time and no object for each value.
    """
    with _Rows() as rows:
        cursor.copy_expert(cursor.mogrify(f"COPY ({statement}) TO STDOUT (NULL 'null')", params), rows)
        text = rows.getvalue().decode()
    return text[:-1].replace("\n", "\t").split("\t") if text else []
