"""A writer as a thread of the test, and what tests ask of a stream."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.codec import encode_rows
from common.database import connect_database, transaction
from common.lifecycle import Stop
from common.settings import Settings
from common.streams import GROUP, Entry, EntryId, append
from common.trades import Trade
from consumer.worker import work

STREAM = "trades"


@contextmanager
def a_writer(settings: Settings, number: int = 1) -> Iterator[None]:
    """A running writer (number 0 keeps house as well); at the end it must stop when asked."""
    stop = Stop()
    thread = threading.Thread(target=work, args=(settings, stop, number))
    thread.start()
    try:
        yield
    finally:
        stop.ask()
        thread.join(20)
    assert not thread.is_alive()


@contextmanager
def locked(settings: Settings, table: str) -> Iterator[None]:
    """Nobody writes to the table meanwhile; who reads goes on."""
    holder = connect_database(settings, "holder")
    try:
        with holder.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield
    finally:
        holder.close()


def wait(reached: Callable[[], Any], what: str, deadline_s: float = 60.0) -> None:
    """Poll until true."""
    until_s = time.monotonic() + deadline_s
    while not reached():
        assert time.monotonic() < until_s, f"no {what} after {deadline_s} s"
        time.sleep(0.01)


def rows(database: Connection, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """What a query answers now."""
    with transaction(database), database.cursor() as cursor:
        cursor.execute(query, params or None)
        return cursor.fetchall() if cursor.description else []


def send(client: redis.Redis, *trades: Trade, entry_id: str = "*") -> str:
    """One entry of these trades; its id."""
    if entry_id == "*":
        return append(client, STREAM, "binance.trade", encode_rows(trades), len(trades)).decode()
    fields = {"v": 1, "n": len(trades), "src": "binance.trade", "rows": encode_rows(trades)}
    return client.xadd(STREAM, fields, id=entry_id).decode()


def hand_out(client: redis.Redis, consumer: str, count: int = 1) -> list[str]:
    """Deliver new entries to a worker that does nothing with them; their ids."""
    found: Any = client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count)
    return [entry_id.decode() for _, entries in found for entry_id, _ in entries]


def pending(client: redis.Redis) -> int:
    """Entries that are delivered and not acknowledged."""
    return int(client.xpending(STREAM, GROUP)["pending"])


def entry(n: int, trades: Sequence[Trade], rows_too: str = "") -> Entry:
    """An entry as a reader gets it, stamped now."""
    return Entry(EntryId(time.time_ns() // 1_000_000, n), "binance.trade", (encode_rows(trades) + rows_too).encode())
