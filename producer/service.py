"""The live producer: feeds, catch-up and publisher, a thread each, watched by this one."""

import contextlib
import fcntl
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import psycopg2
import redis
from psycopg2.extensions import connection as Connection

from common.database import connect_database, wait_for_schema
from common.errors import ConfigError
from common.layout import keep_layout
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.streams import TRANSIENT, connect_redis
from producer.backfill import Backfill
from producer.catchup import CatchUp
from producer.clock import StreamClock
from producer.feed import Feed
from producer.flow import Flow
from producer.missing import Known
from producer.past import PastTrades
from producer.presence import Presence
from producer.publisher import Publisher
from producer.rejects import Reject, store_rejects
from producer.rest import RestClient
from producer.resume import registered_flows, resumed
from producer.spool import Spool
from producer.wire import connect_by

TICK_S = 0.25
STORE_EVERY_S = 1.0
BACKFILL_PART = 0.5  # of the request weight; past it only live trades are caught up

log = get_logger(__name__)


def run_producer(settings: Settings, stop: Stop) -> None:
    """Produce until asked to stop; then close the feeds, send what is held, and end."""
    if not settings.redis_url:
        raise ConfigError("GEMS_REDIS_URL: is not set; start with ./gems up, or name your own Redis")
    connect_by(settings)  # a library that is not there is told before anything is waited for
    connection = wait_for_schema(settings, stop, "producer")
    if connection is None:
        return
    flows, folder = registered_flows(connection, settings), settings.data_dir / "spool"
    with connect_redis(settings, socket_timeout=5) as client, _alone_in(folder, stop) as alone:
        if not alone:
            return
        if not _layout_kept(settings, client, connection, stop):
            return
        spool = Spool(folder, settings.spool_max_mb * 1024 * 1024)
        if _replayed(settings, client, spool, stop) and resumed(client, connection, flows, stop):
            Producer(settings, client, spool, flows, connection, stop).run()


@contextlib.contextmanager
def _alone_in(folder: Path, stop: Stop) -> Iterator[bool]:
    """Wait until no other producer uses the spool; False if asked to stop first. The lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        for delay_s in backoff_s(0.2, 5.0):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield True
                return
            except BlockingIOError:
                log.warning("another producer works in %s; next try in %.1f s", folder, delay_s)
            if stop.wait(delay_s):
                yield False
                return


def _layout_kept(settings: Settings, client: redis.Redis, connection: Connection, stop: Stop) -> bool:
    """False if asked to stop before Redis could be asked.

    Raises:
        ConfigError: the streams of another GEMS_SHARDS are not drained.
    """
    for delay_s in backoff_s():
        try:
            keep_layout(settings, client, connection)
            return True
        except (*TRANSIENT, redis.ResponseError) as exc:
            log.warning("waiting for Redis: %s; next try in %.1f s", exc, delay_s)
        if stop.wait(delay_s):
            return False
    raise AssertionError("backoff_s never ends")


def _replayed(settings: Settings, client: redis.Redis, spool: Spool, stop: Stop) -> bool:
    """Send what an earlier run left in the spool: only then does the stream tell where to resume."""
    if spool:
        log.info("%d bytes wait in the spool from an earlier run", spool.bytes)
    publisher = Publisher(client, spool, stop, respread_to=settings.shards)
    while spool and not stop.requested():
        publisher.step()
    return not stop.requested()


class Producer:
    """The threads and their facts."""

    def __init__(
        self, settings: Settings, client: redis.Redis, spool: Spool, flows: Sequence[Flow], connection: Connection, stop: Stop
    ) -> None:
        self._settings, self._flows, self._stop = settings, flows, stop
        self._connection: Connection | None = connection
        self._publisher = Publisher(client, spool, stop)
        self._clock, rest = StreamClock(), RestClient(settings.rest_url, stop)
        known: queue.SimpleQueue[Known] = queue.SimpleQueue()
        past = [PastTrades(settings, self._publisher, rest, self._clock, part) for part in (1.0, BACKFILL_PART)]
        self._catch_up = CatchUp(settings, flows, past[0], self._publisher, known, stop)
        self._backfill = Backfill(settings, flows, past[1], self._publisher, known, self._catch_up.is_busy, stop)
        shares = [flows[first :: settings.connections] for first in range(min(settings.connections, len(flows)))]
        self._feeds = [Feed(settings, share, self._publisher, self._catch_up.request, self._clock, stop) for share in shares]
        self._beats = connect_redis(settings, socket_timeout=2)
        self._presence = Presence(self._beats, settings.data_dir)
        with contextlib.suppress(redis.RedisError, OSError):
            self._clock.measure(client)
        self._failure: BaseException | None = None
        self._store_at_s = 0.0

    def run(self) -> None:
        """Until asked to stop, or until a thread fails: its error is raised here, for the supervisor to start anew."""
        publishing = self._thread("publisher", self._publisher.run)
        for flow in self._flows:
            self._catch_up.request(flow)
        reading = [self._thread(f"feed-{n}", feed.run) for n, feed in enumerate(self._feeds)]
        reading.append(self._thread("catch-up", self._catch_up.run))
        reading.append(self._thread("backfill", self._backfill.run))
        while not self._stop.wait(TICK_S):
            self._tell()
            self._store_rejects()
        for thread in reading:
            thread.join()
        self._publisher.close()
        publishing.join()
        self._store_at_s = 0.0
        self._store_rejects()
        if self._failure:
            raise self._failure

    def _thread(self, name: str, body: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                body()
            except BaseException as exc:
                self._failure = exc
                self._stop.ask()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def facts(self) -> dict[str, int | float | str]:
        """What the heartbeat tells."""
        feeds, samples = self._feeds, [*(feed.samples for feed in self._feeds), self._catch_up.samples, self._backfill.samples]
        return {
            "trades": self._publisher.trades,
            "entries": self._publisher.entries,
            "messages": sum(feed.messages for feed in feeds),
            "fetched": self._catch_up.fetched,
            "backfilled": self._backfill.fetched,
            "lost": self._backfill.lost,
            "owed": self._catch_up.owed,
            "unfetched": self._catch_up.unfetched,
            "repeats": sum(feed.repeats for feed in feeds),
            "malformed": sum(sample.counted for sample in samples),
            "reconnects": sum(max(0, feed.connects - 1) for feed in feeds),
            "silent": sum(feed.silent for feed in feeds),
            "clock_ahead_ms": self._clock.ahead_ms,
            "connected": sum(feed.connected for feed in feeds),
            "spool_bytes": self._publisher.spool_bytes,
            "catching": ",".join(flow.symbol for flow in self._flows if flow.catching),
            "last_trade_us": orjson.dumps({flow.symbol: flow.last_us for flow in self._flows if flow.last_us}).decode(),
        }

    def _tell(self) -> None:
        if self._presence.due():
            with contextlib.suppress(redis.RedisError, OSError):  # the publisher says so
                self._presence.tell(self.facts())
                self._clock.measure(self._beats)

    def _store_rejects(self) -> None:
        """Dead letters of the feed, while PostgreSQL can be reached."""
        if time.monotonic() < self._store_at_s:
            return
        self._store_at_s = time.monotonic() + STORE_EVERY_S
        for samples in [*(feed.samples for feed in self._feeds), self._catch_up.samples, self._backfill.samples]:
            rejects = samples.take()
            if rejects and not self._stored(rejects):
                samples.put_back(rejects)

    def _stored(self, rejects: list[Reject]) -> bool:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = connect_database(self._settings, "producer")
            store_rejects(self._connection, rejects)
            return True
        except psycopg2.Error as exc:
            log.warning("%d dead letters wait for PostgreSQL: %s", len(rejects), str(exc).strip())
            if self._connection:
                self._connection.close()
            self._store_at_s = time.monotonic() + 10 * STORE_EVERY_S
            return False
