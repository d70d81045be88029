"""A writer's loop: read, judge, store, acknowledge - in this order.

An outage is retried with backoff for as long as it lasts and never counts against an entry: only values that PostgreSQL refuses
make a dead letter.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

import psycopg2
import redis

from common.columns import read_entries
from common.database import connect_database, transaction, wait_for_schema
from common.health import Heartbeat
from common.judge import Limits
from common.layout import keep_layout
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.streams import START, TRANSIENT, Entry, EntryId, ReadSize, connect_redis, in_pieces, stream_names
from consumer.group import Committed, WritersGroup
from consumer.housekeeping import Housekeeping
from consumer.missed import Forgotten
from consumer.restored import note_the_damage
from consumer.store import TickStore

BLOCK_MS = 200
SUMMARIZE_EVERY_S = 5.0
OUTAGES = (*TRANSIENT, redis.ResponseError, psycopg2.Error)

_COMMITTED = "SELECT worker, position_ms, position_seq, stored + repeated + dead FROM writer_positions WHERE stream = %s"

log = get_logger(__name__)


def work(settings: Settings, stop: Stop, number: int) -> None:
    """Run a worker until asked to stop."""
    connection = wait_for_schema(settings, stop, f"gems writer {number}")
    if connection:
        Worker(settings, stop, number, connection).run()


class Worker:
    """One consumer of the group, by a name that stays the same over restarts."""

    def __init__(self, settings: Settings, stop: Stop, number: int, connection: psycopg2.extensions.connection) -> None:
        self._settings, self._stop, self._number = settings, stop, number
        self._name = f"worker-{number}"
        self._limits = Limits.of(settings)
        self._client = connect_redis(settings)
        self._streams = stream_names(settings)
        self._group = WritersGroup(self._client, self._streams, self._name)
        self._store = TickStore(connection, self._name)
        self._heartbeat = Heartbeat(self._client, f"writer_{number}")
        self._housekeeping = Housekeeping(settings, self._client) if number == 0 else None
        self._size = ReadSize(settings.commit_rows, settings.batch_rows)
        self._forgotten = Forgotten()
        self._next_claim_s = 0.0
        self._next_summary_s = 0.0
        self._facts = {"entries": 0, "stored": 0, "repeated": 0, "dead": 0, "commits": 0}
        self._commit_s = 0.0
        self._outage = ""  # why PostgreSQL takes nothing; empty while it does

    def run(self) -> None:
        """Work until asked to stop; start over, own pending entries first, after each outage."""
        delays = backoff_s()
        while not self._stop.requested():
            try:
                self._start()
                while not self._stop.requested():
                    self._turn()
                    self._outage = ""
                    delays = backoff_s()
            except OUTAGES as exc:
                delay_s = next(delays)
                log.warning("%s; nothing is lost, trying again in %.1f s", _first_line(exc), delay_s)
                if isinstance(exc, psycopg2.Error):
                    self._tell_outage(exc)
                self._stop.wait(delay_s)

    def _start(self) -> None:
        if self._store.connection.closed or not _alive(self._store.connection):
            self._store = TickStore(connect_database(self._settings, f"gems {self._name}"), self._name)
        keep_layout(self._settings, self._client, self._store.connection)
        self._forgotten.mark(self._store.connection)
        self._group.ensure()
        for stream in self._streams:
            self._look_for_a_restore(stream)
            for entries in self._own_pending(stream):
                self._store_entries(stream, entries)

    def _look_for_a_restore(self, stream: str) -> None:
        """In this order a crash between two steps leads here again; the marks wait until the writers are where they were."""
        if not self._group.is_ahead(stream, partial(committed, self._store.connection, stream)):
            return
        log.warning("PostgreSQL has less than the group on %s had stored: all that the stream holds is read again", stream)
        self._group.go_back(stream)
        gaps = note_the_damage(self._settings, self._client, self._store.connection, stream)
        self._group.count_anew(stream)
        log.warning("%d gaps are in what %s no longer holds", gaps, stream)

    def _own_pending(self, stream: str) -> Iterator[list[Entry]]:
        after = START
        while entries := self._group.read_pending(stream, after, self._size.entries()):
            yield entries
            after = entries[-1].id

    def _turn(self) -> None:
        for stream, entries in self._group.read_new(self._size.entries(), BLOCK_MS).items():
            self._store_entries(stream, entries)
        if time.monotonic() >= self._next_claim_s:
            self._claim()
        if time.monotonic() >= self._next_summary_s:
            self._next_summary_s = time.monotonic() + SUMMARIZE_EVERY_S
            self._store.summarize()
        if self._housekeeping:
            self._housekeeping.do_what_is_due(self._store.connection)
        if self._heartbeat.due():
            self._tell()

    def _tell(self) -> None:
        self._heartbeat.tell({**self._facts, "commit_s": round(self._commit_s, 6), "outage": self._outage})

    def _tell_outage(self, exc: psycopg2.Error) -> None:
        """While it lasts no turn ends, and nobody else would know why."""
        self._outage = type(exc).__name__
        with suppress(*TRANSIENT, redis.ResponseError):
            self._tell()

    def _claim(self) -> None:
        idle_ms = int(self._settings.claim_after_s * 1000)
        self._next_claim_s = time.monotonic() + self._settings.claim_after_s / 4
        for stream in self._streams:
            for entries in self._group.claim(stream, idle_ms, self._size.entries()):
                log.warning("took over %d entries of %s that nobody had finished", len(entries), stream)
                self._store_entries(stream, entries)

    def _store_entries(self, stream: str, entries: Sequence[Entry]) -> None:
        self._size.note(entries)
        for piece in in_pieces(entries, self._settings.commit_rows):
            self._store_piece(stream, piece)

    def _store_piece(self, stream: str, entries: Sequence[Entry]) -> None:
        batch = read_entries(entries, self._limits)
        began_s = time.monotonic()
        counts = self._store.store(stream, entries, batch)
        self._commit_s += time.monotonic() - began_s
        self._facts["commits"] += 1
        is_known = False
        try:
            is_known = self._group.ack(stream, entries, counts.of_worker)
        finally:
            if not is_known:
                self._forgotten.note(stream, batch.columns)
        self._forgotten.mark(self._store.connection)
        self._facts["entries"] += len(entries)
        for name in ("stored", "repeated", "dead"):
            self._facts[name] += getattr(counts, name)
        if counts.dead:
            log.warning("%d rows of %s went to the dead letters; see ./gems status", counts.dead, stream)


def committed(connection: psycopg2.extensions.connection, stream: str) -> dict[str, Committed]:
    """What PostgreSQL has of each worker on a stream now."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_COMMITTED, (stream,))
        return {worker: Committed(EntryId(int(ms), int(seq)), int(rows)) for worker, ms, seq, rows in cursor.fetchall()}


def _alive(connection: psycopg2.extensions.connection) -> bool:
    try:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except psycopg2.Error:
        connection.close()
        return False


def _first_line(exc: BaseException) -> str:
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0] if lines else ''}"
