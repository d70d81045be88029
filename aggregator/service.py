"""The aggregator's loop: tail the stream, let the core decide, commit bars with the checkpoint, then tell live listeners.

Start and resume are one path: after any fault the state is the last checkpoint's, and the stream is read on from there.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg2
import redis
from psycopg2.extensions import connection as Connection

from aggregator import checkpoint
from aggregator.core import Core, Mark, Outcome
from aggregator.live import LiveBars
from aggregator.resharding import redistribute
from aggregator.store import BarsStore
from aggregator.tail import Tail
from aggregator.ticks import tick_events
from common.columns import read_entries
from common.database import connect_database, transaction, wait_for_schema
from common.events import publish
from common.health import Heartbeat
from common.judge import Limits
from common.layout import keep_layout
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.sources import ids_follow_on
from common.streams import START, TRANSIENT, Entry, EntryId, connect_redis, server_identity, stream_names, writers_position

Array = np.ndarray[Any, Any]
OUTAGES = (*TRANSIENT, redis.ResponseError, psycopg2.Error)
#: A turn takes at least this long: at middling rates it gathers entries, at no cost that a person sees.
TURN_S = 0.02
BLOCK_MS = 100
#: Closed bars that may wait for a commit, at most.
HELD_BARS = 10_000
#: How long the position may stay uncommitted while no bar closes.
COMMIT_S = 1.0
#: How often the stream is looked at for having been changed behind our back.
LOOK_S = 1.0
#: A run that ends sooner did not get to work: the next try waits longer.
WORKED_S = 10.0
#: How far back bars are rebuilt when entries may have been lost.
DOUBT_US = 120_000_000
_LOCK = 0x6765_6D73_0100

log = get_logger(__name__)


def aggregate(settings: Settings, stop: Stop, shard: int) -> None:
    """Own a shard until asked to stop; while another process owns it, wait."""
    connection = wait_for_schema(settings, stop, f"gems aggregator {shard}")
    delays = backoff_s()
    while connection and not stop.requested():
        began_s = math.inf
        try:
            if connection.closed:
                connection = connect_database(settings, f"gems aggregator {shard}")
            if _own(connection, shard, stop):
                began_s = time.monotonic()
                Service(settings, stop, shard, connection).run()
        except OUTAGES as exc:
            delays = backoff_s() if time.monotonic() - began_s > WORKED_S else delays
            delay_s = next(delays)
            first_line = (str(exc).strip().splitlines() or [""])[0]
            log.warning("%s: %s; going on from the last checkpoint in %.1f s", type(exc).__name__, first_line, delay_s)
            _close(connection)
            stop.wait(delay_s)


def _own(connection: Connection, shard: int, stop: Stop) -> bool:
    """Wait for the shard's session lock: one owner, any number of spares."""
    waited = False
    while not stop.requested():
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK + shard,))
            row = cursor.fetchone()
        if row and row[0]:
            return True
        if not waited:
            log.info("shard %d has an owner; waiting to take over", shard)
            waited = True
        stop.wait(0.5)
    return False


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except psycopg2.Error as exc:
        log.info("closing a broken session: %s", exc)


def loose_rows(entries: Sequence[Entry], rows_of: Array) -> Array | None:
    """Of each row, by its entry's number: need its ids not follow on each other? None, the usual case: all do."""
    strays = {src for src in {entry.src for entry in entries} if not ids_follow_on(src)}
    if not strays:
        return None
    of_entry: Array = np.array([entry.src in strays for entry in entries], dtype=bool)[rows_of]
    return of_entry


class Service:
    """The owner of a shard."""

    def __init__(self, settings: Settings, stop: Stop, shard: int, connection: Connection) -> None:
        self._settings, self._stop, self._shard = settings, stop, shard
        self._limits = Limits.of(settings)
        self._client, self._connection = connect_redis(settings), connection
        self._heartbeat = Heartbeat(self._client, f"aggregator_{shard}")
        self._core = Core(settings.timeframes, settings.lateness_ms)
        self._store = BarsStore(settings, connection, shard, self._core)
        self._live = LiveBars(settings, self._client)
        self._tail = Tail(self._client, stream_names(settings)[shard], settings.batch_rows)
        self._next_commit_s = self._next_look_s = 0.0
        self._noted = START  # once the writers have passed it, all is stored that was read before it was noted
        self._held = Outcome()  # of the turns since the last commit
        self._facts: dict[str, int | float] = {"trades": 0, "repeated": 0, "late": 0, "bars": 0, "commits": 0, "commit_s": 0.0}

    def run(self) -> None:
        """Load the checkpoint, then work until asked to stop."""
        self._start()
        while not self._stop.requested():
            began_s = time.monotonic()
            self._turn()
            if not self._tail.is_behind:
                self._stop.wait(max(0.0, TURN_S - (time.monotonic() - began_s)))
        self._commit()

    def _start(self) -> None:
        keep_layout(self._settings, self._client, self._connection)
        redistribute(self._connection, self._settings.shards)
        found = self._store.take_over()
        publish(self._client, found.events)
        run_id = server_identity(self._client)
        self._store.run_id = run_id
        self._tail.position = self._noted = found.position
        added = checkpoint.restore(self._core, found.state) if found.state is not None else []
        self._store.load_pairs()
        if added:
            days = self._store.mark_everything(f"first bars of {', '.join(added)}")
            log.warning("%s were not built before: made now from %d days of stored ticks", ", ".join(added), days)
        if found.state is None:
            self._doubt_unless_whole()
        elif not self._tail.holds_position():
            self._doubt("the stream no longer holds the last entry read", from_start=True)
        elif self._tail.position == START and not (self._tail.is_whole() and not self._store.writers_were_ahead()):
            self._doubt("trades were stored before the first entry was read", from_start=True)
        elif run_id != found.run_id:
            self._doubt("Redis was restarted", from_start=False)
        elif self._core.doubting:
            self._tail.catch_up_from(start=False)
        log.info("reading %s on from %s with %d symbols", self._tail.stream, self._tail.position, len(self._core.symbols))

    def _doubt_unless_whole(self) -> None:
        """Without a checkpoint, bars are proved only if the stream still holds its very first entry."""
        marked = self._store.mark_everything("stored before the first checkpoint")
        if marked or not self._tail.is_whole():
            self._doubt("there is no checkpoint", from_start=True)

    def _doubt(self, reason: str, from_start: bool) -> None:
        """Something may have been missed: prove nothing until all there is was read, and mark what the bars may lack."""
        log.warning("%s: bars of this time will be rebuilt from the ticks", reason)
        if self._store.writers_were_ahead():
            marked = self._store.mark_differing_days()
            log.warning("the writers were ahead, and the stream may have lost what they stored; %d days are rebuilt", marked)
        stored_us = self._store.stored_since_us(DOUBT_US)
        self._tail.catch_up_from(from_start)
        self._noted = self._tail.position
        self._held.marks += self._core.doubt(reason, DOUBT_US, stored_us)
        self._commit()

    def _turn(self) -> None:
        if time.monotonic() >= self._next_look_s:
            self._look()
        stored = writers_position(self._client, self._tail.stream) if self._core.doubting else None
        if self._core.doubting and self._tail.has_caught_up(stored):
            self._settle(stored or START)
        else:
            self._read()
        changed, self._held.changed = self._held.changed, set()
        if self._is_commit_due():
            self._commit()
        if not self._tail.is_behind:
            self._live.tell(self._core, changed)
        if self._heartbeat.due():
            self._heartbeat.tell({**self._facts, "position": str(self._tail.position), "doubting": int(self._core.doubting)})

    def _read(self) -> None:
        """Take what has come since the last time, or the time if that was nothing."""
        before = self._tail.position
        entries = self._tail.read(BLOCK_MS, len(self._core.symbols))
        if entries and not self._tail.holds_all_up_to(before):  # new ones hide from the next look that it was emptied before
            self._doubt("the stream was emptied or changed", from_start=True)
        elif entries:
            self._take(entries)
        elif now_ms := self._tail.quiet_until_ms():
            self._core.on_time(now_ms, self._held)

    def _settle(self, stored: EntryId) -> None:
        """End a doubt. Nothing is read until the writers have all that was: what they lack then is lost, and not just late."""
        if stored < self._tail.position:
            self._stop.wait(TURN_S)
        elif not self._tail.holds_position():
            self._doubt("the stream was emptied or changed", from_start=True)
        else:
            self._note_lost(self._held)
            self._core.trust()
            self._next_commit_s = 0.0

    def _look(self) -> None:
        """Is the stream the one that was read, and what of it is stored? The writers are asked first: of a stream that was
        emptied and filled again their answer means nothing.
        """
        self._next_look_s = time.monotonic() + LOOK_S
        stored = writers_position(self._client, self._tail.stream)
        if not self._tail.holds_position():
            self._doubt("the stream was emptied or changed", from_start=True)
        elif (stored or START) >= self._noted:
            self._core.note_stored()
            self._noted = self._tail.position

    def _is_commit_due(self) -> bool:
        """Bars are committed as they close; while much waits to be read, those of a second at once: a commit costs as much as
        thousands of trades, and nobody waits for a bar that is late anyway.
        """
        if time.monotonic() >= self._next_commit_s:
            return True
        may_hold = self._tail.is_behind and self._held.closed_bars < HELD_BARS
        return self._held.says_something and not may_hold

    def _note_lost(self, outcome: Outcome) -> None:
        """Ids that we have seen and that nobody stored: Redis forgot them before the writers had them. Only the ticks tell."""
        for name, hole in self._store.lost_ids(self._core.doubted_since_us):
            log.warning("%s ids %d..%d were read and are not stored: a gap", name, hole.first_id, hole.last_id)
            outcome.holes.append((name, hole))
            outcome.marks += [Mark(name, stamp, stamp, "gap") for stamp in sorted({hole.from_us, hole.to_us})]

    def _take(self, entries: list[Entry]) -> None:
        batch = read_entries(entries, self._limits)
        entry_ms = np.array([entry.id.ms for entry in entries], dtype=np.int64)
        rows_of = batch.columns.entry
        loose = loose_rows(entries, rows_of)
        self._core.on_trades(batch.columns, entry_ms[rows_of], entries[-1].id.ms, loose, self._held)
        if self._settings.live_ticks == "on":
            publish(self._client, tick_events(batch.rows))

    def _commit(self) -> None:
        self._next_commit_s = time.monotonic() + COMMIT_S
        outcome, self._held, began_s = self._held, Outcome(), time.monotonic()
        events, bars = self._store.commit(outcome, self._tail.position)
        self._facts["commit_s"] = round(self._facts["commit_s"] + time.monotonic() - began_s, 6)
        for name, count in (("commits", 1), ("bars", bars), ("trades", outcome.trades), ("repeated", outcome.repeated)):
            self._facts[name] += count
        self._facts["late"] += outcome.late
        publish(self._client, events)
