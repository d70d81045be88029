"""Batches to Redis, by way of the spool while Redis can't take them. One thread, so that order is kept."""

import queue
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import redis

from common.layout import rows_by_stream
from common.lifecycle import Backoff, Stop
from common.log import get_logger
from common.streams import EntryId, append
from producer.batcher import Batch
from producer.spool import Spool

QUEUED_BATCHES = 256
PIPELINE_BATCHES = 64
REPLAYS_A_STEP = 4  # the spool must empty faster than the feeds fill it
IDLE_S = 0.1

log = get_logger(__name__)


def send(client: redis.Redis, batches: Sequence[Batch]) -> dict[str, EntryId]:
    """Append the batches in order; answers each stream's newest id. Entries of one stream are appended together or not at all.

    Raises:
        redis.RedisError, OSError: some may have been appended all the same; sending again is harmless.
    """
    newest: dict[str, EntryId] = {}
    for stream, group in groupby(batches, key=lambda batch: batch.stream):
        pipe = client.pipeline(transaction=True)
        for batch in group:
            append(pipe, stream, batch.src, batch.rows, batch.n)
        newest[stream] = EntryId.parse(pipe.execute()[-1])
    return newest


def respread(batches: Sequence[Batch], shards: int) -> list[Batch]:
    """The batches by the streams of that many shards; the order of each symbol's rows is kept."""
    by_stream = [(batch, stream, rows) for batch in batches for stream, rows in rows_by_stream(batch.rows, shards).items()]
    return [batch._replace(stream=stream, rows=rows, n=rows.count("\n")) for batch, stream, rows in by_stream]


class Publisher:
    """Takes batches from any thread and sends them in the order they came.

    While Redis is away or full they go to the spool, and once one is there all later ones follow it, until it is empty.
    A full spool closes the feeds (`feeds_closed`); what they have read by then waits in memory.
    """

    def __init__(
        self, client: redis.Redis, spool: Spool, stop: Stop, respread_to: int | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`respread_to`: the spool is of an earlier run, whose GEMS_SHARDS may have been another; that of today."""
        self._client, self._spool, self._stop, self._respread_to = client, spool, stop, respread_to
        self._queue: queue.Queue[Batch] = queue.Queue(QUEUED_BATCHES)
        self._closing = False
        self._in_hand: list[Batch] = []
        self._clock_s, self._backoff = clock_s, Backoff()
        self.trades = self.entries = self.spooled = 0

    @property
    def spool_bytes(self) -> int:
        """Bytes that wait on the disk."""
        return self._spool.bytes

    @property
    def feeds_closed(self) -> bool:
        """True while nothing more should be read."""
        return self._spool.full

    @property
    def idle(self) -> bool:
        """True while all that was handed over is sent or on the disk."""
        return self._queue.unfinished_tasks == 0

    def put(self, batch: Batch) -> None:
        """Hand over a batch; waits while too many are queued, which stops the feed that calls."""
        self._queue.put(batch)

    def close(self) -> None:
        """Let `run` end once all that was handed over is sent or on the disk. Feeds have ended before."""
        self._closing = True

    def run(self) -> None:
        """Send until closed."""
        while not (self._closing and self._queue.empty() and not self._in_hand):
            self.step()
        if self._spool and self._may_try():
            self._replay()
        self._spool.close()

    def step(self) -> None:
        """One round: what is queued, then a piece of what is spooled."""
        if not self._spool.full or self._stop.requested():
            self._in_hand = self._in_hand or self._take()
            self._deliver()
        elif not self._may_try():
            self._stop.wait(IDLE_S)
        for _ in range(REPLAYS_A_STEP):
            if self._spool and self._may_try():
                self._replay()

    def _take(self) -> list[Batch]:
        """What is queued; waits a little for the first unless the spool has work to do."""
        taken: list[Batch] = []
        try:
            taken.append(self._queue.get(timeout=0.001 if self._spool and self._may_try() else IDLE_S))
            while len(taken) < PIPELINE_BATCHES:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _deliver(self) -> None:
        """What is in hand stays there if neither Redis nor the disk takes it."""
        if self._in_hand and (self._spool or not self._sent(self._in_hand)):
            try:
                self._spool.append(self._in_hand)
                self.spooled += len(self._in_hand)
            except OSError as exc:
                log.error("the spool can not be written (%s); the feeds wait; next try in %.1f s", exc, IDLE_S)
                self._stop.wait(IDLE_S)
                return
        for _ in self._in_hand:
            self._queue.task_done()
        self._in_hand = []

    def _replay(self) -> None:
        spooled = self._spool.peek(PIPELINE_BATCHES)
        if spooled and self._sent(spooled if self._respread_to is None else respread(spooled, self._respread_to)):
            self._spool.drop(len(spooled))
            if not self._spool:
                log.info("the spool is empty again")

    def _may_try(self) -> bool:
        return self._backoff.may_try(self._clock_s())

    def _sent(self, batches: list[Batch]) -> bool:
        try:
            send(self._client, batches)
        except (redis.RedisError, OSError) as exc:
            delay_s = self._backoff.failed(self._clock_s())
            log.warning("Redis does not take trades (%s); they go to the spool; next try in %.1f s", exc, delay_s)
            return False
        self._backoff.worked()
        self.entries += len(batches)
        self.trades += sum(batch.n for batch in batches)
        return True
