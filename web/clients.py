"""What waits for one listener: batches of events, shared by all who want the same, and the end of its patience."""

import queue
from collections.abc import Iterable
from typing import NamedTuple

from common.streams import START, EntryId
from web.frames import Filter, Frame

#: Events that may wait for one client.
QUEUE_LENGTH = 5_000


class Batch(NamedTuple):
    """Events one after another, and their text, made once for all."""

    frames: tuple[Frame, ...]
    text: bytes

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> "Batch":
        """A batch of these."""
        taken = tuple(frames)
        return cls(taken, b"".join(frame.text for frame in taken))


class Client:
    """A listener: its filter and its queue. None in the queue ends it. One thread offers, one takes."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.too_slow = False
        self.seen = START  # what it has read by itself further than the tail was when it joined
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._offered = self._taken = 0  # events; each number is written by one side alone

    def offer(self, batch: Batch | None) -> bool:
        """Queue a batch; False once the client is too slow to keep up."""
        if batch is not None:
            self.too_slow = self.too_slow or self._offered - self._taken + len(batch.frames) > QUEUE_LENGTH
            if self.too_slow:
                return False
            self._offered += len(batch.frames)
        self._batches.put(batch)
        return not self.too_slow

    def take(self, timeout_s: float = 0.0) -> bytes | None:
        """The text of the next batch, without what the client has seen, so it may be empty; None: it is over.

        Raises:
            queue.Empty: nothing came.
        """
        batch = self._batches.get(timeout=timeout_s) if timeout_s else self._batches.get_nowait()
        if batch is None:
            return None
        self._taken += len(batch.frames)
        if all(_is_new(frame.id, self.seen) for frame in batch.frames[:1]):
            return batch.text
        return b"".join(frame.text for frame in batch.frames if _is_new(frame.id, self.seen))


def _is_new(at: EntryId | None, seen: EntryId) -> bool:
    """Events without an id are the web's own."""
    return at is None or at > seen
