"""Server-sent events: one thread tails the stream `live` and fans out to every client through bounded queues.

It reads in pages. What of a page a filter wants becomes one batch, once for all clients with that filter.

A client's `Last-Event-ID` is an id of that stream. On resume it first reads what it missed by XRANGE, then joins the
tail at the exact position where its own reading ended: no hole, no repeat.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis

from common.errors import StoreUnavailable
from common.lifecycle import backoff_s
from common.log import get_logger
from common.streams import LIVE, START, TRANSIENT, EntryId
from web.carrier import Carrier
from web.clients import Batch, Client
from web.frames import Filter, Frame, named_frame, readable

HEALTH_EVERY_S = 2.0
PAGE = 500
_BLOCK_MS = 1_000

log = get_logger(__name__)


class Hub:
    """The tail and its listeners. Threads start with the first listener, so after any fork."""

    def __init__(self, connect: Callable[[], redis.Redis], health: Callable[[], dict[str, Any]], capacity: int) -> None:
        self._connect, self._health, self.capacity = connect, health, capacity
        self.carrier = Carrier()
        self._lock = threading.Lock()
        self._clients: set[Client] = set()
        self._serving = 0
        self._position: EntryId | None = None  # what the tail has handed out; None until it knows
        self._known = threading.Event()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._health_failed = False

    def enter(self) -> bool:
        """Take one of the places; False if all are taken, or if the web is about to stop."""
        with self._lock:
            if self._serving >= self.capacity or self._closed.is_set():
                return False
            self._serving += 1
            if not self._threads:
                self._start()
            return True

    @property
    def serving(self) -> int:
        """How many places are taken."""
        return self._serving

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self._serving -= 1

    def join(self, client: Client) -> EntryId:
        """Listen from here on; the answer is the last id that the client will *not* get by its queue."""
        with self._lock:
            if self._position is None:
                raise StoreUnavailable("Redis can not be reached now; try again soon")
            self._clients.add(client)
            return self._position

    def drop(self, client: Client) -> None:
        """Listen no more."""
        with self._lock:
            self._clients.discard(client)

    def wait_known(self, seconds: float) -> bool:
        """True once the tail has found its position."""
        return self._known.wait(seconds)

    def close(self) -> None:
        """End every listener at once; called from a signal handler, so it waits for no lock."""
        self._closed.set()
        for client in list(self._clients):
            client.offer(None)
        self.carrier.wake()

    @property
    def closed(self) -> bool:
        """True once the web stops."""
        return self._closed.is_set()

    def wait_ended(self, seconds: float) -> None:
        """Wait for the listeners' last bytes and for the threads, after `close`."""
        self.carrier.wait_ended(seconds)
        for thread in self._threads:
            thread.join(seconds)

    def _start(self) -> None:
        for target in (self._tail, self._tell_health):
            thread = threading.Thread(target=target, name=f"live-{target.__name__.strip('_')}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _tail(self) -> None:
        """Read `live` for everybody, for ever; Redis away: wait and go on from the same position."""
        client = self._connect()
        delays = backoff_s(0.05, 2.0)
        while not self._closed.is_set():
            try:
                self._read(client)
                delays = backoff_s(0.05, 2.0)
            except TRANSIENT as exc:
                delay_s = next(delays)
                log.warning("tailing %s: %s; next try in %.1f s", LIVE, exc, delay_s)
                self._closed.wait(delay_s)
            except Exception:
                log.exception("tailing %s failed; the listeners start again", LIVE)
                self._end_all()
                self._closed.wait(next(delays))
        client.close()

    def _read(self, client: redis.Redis) -> None:
        """One turn: find the position, or read what came after it."""
        if self._position is None:
            self._set_position(newest_id(client))
            return
        answer: Any = client.xread({LIVE: str(self._position)}, count=PAGE, block=_BLOCK_MS)
        if not answer:
            if newest_id(client) < self._position:
                log.warning("the stream %s is younger than its listeners: Redis has lost it; they start again", LIVE)
                self._end_all()
                self._set_position(newest_id(client))
            return
        (_, entries), *_ = answer
        frames = [frame for raw_id, fields in entries if (frame := readable(raw_id, fields))]
        self._hand_out(EntryId.parse(entries[-1][0]), frames)

    def _set_position(self, position: EntryId) -> None:
        with self._lock:
            self._position = position
        self._known.set()

    def _hand_out(self, position: EntryId | None, frames: list[Frame]) -> None:
        """Position and queues move together, under the lock: `join` sees both or neither."""
        batches: dict[Filter, Batch] = {}
        with self._lock:
            if position is not None:
                self._position = position
            slow = [client for client in self._clients if not _offer(client, frames, batches)]
            self._clients.difference_update(slow)
        self.carrier.wake()

    def _end_all(self) -> None:
        with self._lock:
            for client in self._clients:
                client.offer(None)
            self._clients.clear()
        self.carrier.wake()

    def _tell_health(self) -> None:
        """The facts of `/api/health/`, every two seconds, gathered once for all and only if somebody listens."""
        while not self._closed.wait(HEALTH_EVERY_S):
            if not any(not c.wanted.kinds or "health" in c.wanted.kinds for c in list(self._clients)):
                continue
            self._hand_out(None, [named_frame("health", self._health_or_why())])

    def _health_or_why(self) -> dict[str, Any]:
        """The facts; where a store is away, a sentence that says so, logged at its first time alone."""
        try:
            facts, self._health_failed = self._health(), False
            return facts
        except Exception as exc:
            if not self._health_failed:
                log.warning("health can not be told: %s; tried again every %.0f s", str(exc).strip(), HEALTH_EVERY_S)
            self._health_failed = True
            return {"error": "PostgreSQL or Redis can not be reached now"}


def _offer(client: Client, frames: Iterable[Frame], batches: dict[Filter, Batch]) -> bool:
    """Give a client what it wants of a page; False once it is too slow. A batch is made once for each filter."""
    wanted = client.wanted
    if (batch := batches.get(wanted)) is None:
        batch = batches[wanted] = Batch.of(frame for frame in frames if wanted.wants(frame))
    return not batch.frames or client.offer(batch)


def newest_id(client: redis.Redis) -> EntryId:
    """The last id the stream has given; 0-0 if there is no stream yet."""
    try:
        return EntryId.parse(client.xinfo_stream(LIVE)["last-generated-id"])
    except redis.ResponseError as exc:
        if "no such key" not in str(exc):
            raise
        return START


def missed(client: redis.Redis, after: EntryId, until: EntryId | None = None) -> Iterator[tuple[EntryId, Frame | None]]:
    """Entries after one id up to another (default: all there are), page by page."""
    while True:
        page: Any = client.xrange(LIVE, f"({after}", str(until) if until else "+", count=PAGE)
        for raw_id, fields in page:
            after = EntryId.parse(raw_id)
            yield after, readable(raw_id, fields)
        if len(page) < PAGE:
            return
