"""Several symbols rebuilt at once, a session each: PostgreSQL gives a session one core."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection

from aggregator.barstore import Settled
from common.database import connect_database
from common.log import get_logger
from common.settings import Settings

Work = TypeVar("Work")

log = get_logger(__name__)


def rebuild_abreast(
    connections: Sequence[Connection], by_symbol: Sequence[Sequence[Work]],
    rebuild_one: Callable[[Connection, Work], list[Settled]], may_help: Callable[[Connection], bool],
) -> list[Settled]:  # fmt: skip
    """Do all work, a symbol's on one session in its order; answers what changed.

    The first session does what is left; the others help as long as `may_help`, asked before each symbol, says so. A fault of any
    is raised once all have ended their piece.
    """
    waiting: queue.SimpleQueue[Sequence[Work]] = queue.SimpleQueue()
    for works in by_symbol:
        waiting.put(works)
    failed = threading.Event()

    def take_symbols(connection: Connection, is_asked: bool) -> list[Settled]:
        settled: list[Settled] = []
        try:
            while not failed.is_set() and (is_asked or may_help(connection)):
                for work in waiting.get_nowait():
                    settled += rebuild_one(connection, work)
        except queue.Empty:
            pass
        except BaseException:
            failed.set()
            raise
        return settled

    with ThreadPoolExecutor(max(1, len(connections) - 1), "rebuild") as helpers:
        helping = [helpers.submit(take_symbols, connection, False) for connection in connections[1:]]
        settled = take_symbols(connections[0], True)
    return settled + [bar for helped in helping for bar in helped.result()]


@contextmanager
def helping_sessions(settings: Settings, count: int) -> Iterator[list[Connection]]:
    """So many sessions more, or as many as PostgreSQL has left."""
    opened: list[Connection] = []
    try:
        while len(opened) < count:
            opened.append(connect_database(settings, "gems tasks helper"))
    except psycopg2.OperationalError as exc:
        log.warning("no further session to rebuild with: %s; going on with %d", str(exc).strip(), 1 + len(opened))
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()
