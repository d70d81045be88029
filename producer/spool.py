"""Batches on disk while Redis is away: append-only files, fsynced, replayed in order, bounded.

A record is `length crc32 payload`; a torn tail (the machine stopped in the middle of a write) is cut off at opening.
A file is deleted once all of it was replayed, so that after a crash its batches are sent again: at least once.
"""

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from common.log import get_logger
from common.records import read_records, sync_directory, to_record
from producer.batcher import Batch

SEGMENT_BYTES = 8 * 1024 * 1024

log = get_logger(__name__)


class Spool:
    """A queue of batches in files `<directory>/<number>.spool`; one process and one thread use it."""

    def __init__(self, directory: Path, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._max_bytes, self._segment_bytes = directory, max_bytes, segment_bytes
        self._segments = deque(sorted(directory.glob("*.spool")))
        self._tail: BinaryIO | None = None
        self._loaded: deque[Batch] = deque()  # of the first segment, what is not replayed yet
        self._is_loaded = False
        for segment in self._segments:
            _cut_torn_tail(segment)
        self.bytes = sum(segment.stat().st_size for segment in self._segments)

    def __bool__(self) -> bool:
        """True while something waits for its replay."""
        return bool(self._segments)

    @property
    def full(self) -> bool:
        """True when no more should be read from the feeds. What they have read already is still taken."""
        return self.bytes >= self._max_bytes

    def append(self, batches: Iterable[Batch]) -> None:
        """Keep the batches; on return they are on the disk."""
        records = b"".join(map(_record, batches))
        if self._tail is None or self._tail.tell() >= self._segment_bytes or (len(self._segments) == 1 and self._is_loaded):
            self._open_segment()
        assert self._tail is not None
        start = self._tail.tell()
        try:
            self._tail.write(records)
            self._tail.flush()
            os.fsync(self._tail.fileno())
        except OSError:
            self._forget_from(start)
            raise
        self.bytes += len(records)

    def peek(self, most: int) -> list[Batch]:
        """The oldest batches, at most so many, of one file; they stay until `drop`."""
        while not self._loaded and self._segments:
            if self._is_loaded:
                self._delete_first()
            else:
                self._loaded, self._is_loaded = deque(_read(self._segments[0])), True
        return [batch for _, batch in zip(range(most), self._loaded, strict=False)]

    def drop(self, count: int) -> None:
        """Forget the oldest batches: they were sent."""
        for _ in range(count):
            self._loaded.popleft()
        if not self._loaded and self._is_loaded:
            self._delete_first()

    def close(self) -> None:
        """Close the open file; what waits stays on the disk."""
        if self._tail:
            self._tail.close()
            self._tail = None

    def _open_segment(self) -> None:
        """A new file: never one that is being replayed, whose records are in memory already."""
        self.close()
        number = int(self._segments[-1].stem) + 1 if self._segments else 1
        path = self._directory / f"{number:010d}.spool"
        self._tail = path.open("ab")
        self._segments.append(path)
        sync_directory(self._directory)

    def _forget_from(self, offset: int) -> None:
        """Half a record (the disk is full) would hide all that follow it."""
        assert self._tail is not None
        tail, self._tail = self._tail, None  # whatever fails now, the next record begins a file of its own
        with contextlib.suppress(OSError):
            tail.close()  # its buffer may fail once more
        os.truncate(tail.name, offset)

    def _delete_first(self) -> None:
        first = self._segments.popleft()
        if not self._segments:
            self.close()
        self.bytes -= first.stat().st_size
        first.unlink()
        sync_directory(self._directory)
        self._is_loaded = False


def _record(batch: Batch) -> bytes:
    return to_record(orjson.dumps(tuple(batch)))


def _read(segment: Path) -> Iterator[Batch]:
    for _, payload in read_records(segment):
        yield Batch(*orjson.loads(payload))


def _cut_torn_tail(segment: Path) -> None:
    whole = max((offset for offset, _ in read_records(segment)), default=0)
    torn = segment.stat().st_size - whole
    if torn:
        log.warning("cut %d torn bytes off %s; the feed's catch-up fetches those trades again", torn, segment.name)
        os.truncate(segment, whole)
