"""The day's trades of one symbol on disk: append-only segments of fixed-size rows, so that a trade's place follows from its id.

A segment's name is its first trade id. A row is written before it is sent and needs no fsync to outlive a kill -9; a tail
torn by one was never sent and is cut. The newest segment always stays: the next ids and the last price come from it.
"""

import bisect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ops.exchange.aggregate import AGGREGATE, TRADE, Rows, aggregates

SEGMENT_ROWS = 500_000
SEGMENT_SPAN_US = 3600 * 1_000_000
KEPT_US = 25 * 3600 * 1_000_000
KEPT_ROWS = 24_000_000
"""Trades kept of all symbols together: a gigabyte."""


@dataclass
class Segment:
    """One file of rows: those with ids `[first_id, first_id + count)`."""

    path: Path
    first_id: int
    count: int
    first_us: int

    def read(self, at: int, count: int) -> Rows:
        """Rows from place `at` on, at most `count`."""
        count = max(0, min(count, self.count - at))
        return np.fromfile(self.path, TRADE, count, offset=at * TRADE.itemsize)


class History:
    """One symbol's trades, oldest first; written by one process."""

    def __init__(self, folder: Path, kept_rows: int = KEPT_ROWS, segment_rows: int = SEGMENT_ROWS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._kept_rows, self._segment_rows = folder, kept_rows, segment_rows
        self._file: int | None = None
        paths = sorted(folder.glob("*.trades"), key=lambda path: int(path.stem))
        self._segments = [segment for segment in map(_opened, paths) if segment.count]

    def append(self, rows: Rows) -> None:
        """Write TRADE rows whose ids go on from the last; nothing of them is kept if it raises OSError."""
        if not len(rows):
            return
        self._roll_before(rows)
        segment, payload = self._segments[-1], rows.tobytes()
        assert self._file is not None
        try:
            _write_all(self._file, payload)
        except OSError:
            self._take_back(segment)
            raise
        segment.count += len(rows)

    def last(self) -> Rows | None:
        """The newest trade, or None before the first."""
        if not self._segments:
            return None
        newest: Rows = self._segments[-1].read(self._segments[-1].count - 1, 1)[0]
        return newest

    def next_id(self) -> int:
        """Id after the newest trade; 0 before the first."""
        return self._segments[-1].first_id + self._segments[-1].count if self._segments else 0

    def read(self, from_id: int, limit: int) -> Rows:
        """At most `limit` trades with ids from `from_id` on; from the oldest kept where that is older."""
        parts = []
        for segment in self._segments[self._segment_of(from_id) :]:
            part = segment.read(max(0, from_id - segment.first_id), limit)
            parts.append(part)
            limit -= len(part)
            if limit <= 0:
                break
        return np.concatenate(parts) if parts else np.empty(0, TRADE)

    def newest(self, limit: int) -> Rows:
        """The last `limit` trades."""
        return self.read(self.next_id() - limit, limit)

    def id_at(self, field: str, value: int) -> int:
        """Id of the first trade whose `field` ("time_us" or "agg_id") is at least `value`; `next_id()` if none is."""
        segments = self._segments
        at = bisect.bisect_left(segments, value, key=lambda segment: int(segment.read(0, 1)[field][0]))
        for segment in segments[max(0, at - 1) : at + 1]:
            rows: Any = np.memmap(segment.path, TRADE, "r", shape=(segment.count,))
            place = bisect.bisect_left(rows[field], value)
            if place < segment.count:
                return segment.first_id + place
        return self.next_id()

    def read_aggregates(self, from_id: int, limit: int) -> Rows:
        """At most `limit` AGGREGATE rows from the aggregate of trade `from_id` on, each whole."""
        trades = np.empty(0, TRADE)
        for part in self._parts(from_id):
            trades = np.concatenate([trades, part])
            found = aggregates(trades)
            if len(found) > limit:
                return found[:limit]
        return aggregates(trades) if len(trades) else np.empty(0, AGGREGATE)

    def drop_old(self, now_us: int) -> None:
        """Delete segments that ended more than a day ago, or that are too many; never the newest."""
        kept = sum(segment.count for segment in self._segments)
        while len(self._segments) > 1 and (kept > self._kept_rows or self._segments[1].first_us < now_us - KEPT_US):
            oldest = self._segments.pop(0)
            kept -= oldest.count
            oldest.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the history can be read on, and appended to again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_back(self, segment: Segment) -> None:
        assert self._file is not None
        os.ftruncate(self._file, segment.count * TRADE.itemsize)
        if not segment.count:
            self.close()
            self._segments.pop()
            segment.path.unlink()

    def _segment_of(self, trade_id: int) -> int:
        return max(0, bisect.bisect_right(self._segments, trade_id, key=lambda segment: segment.first_id) - 1)

    def _parts(self, from_id: int, rows: int = 4000) -> Iterator[Rows]:
        while len(part := self.read(from_id, rows)):
            yield part
            from_id = int(part["id"][-1]) + 1

    def _roll_before(self, rows: Rows) -> None:
        newest = self._segments[-1] if self._segments else None
        first_us = int(rows["time_us"][0])
        if newest is None or newest.count >= self._segment_rows or first_us - newest.first_us >= SEGMENT_SPAN_US:
            self.close()
            first_id = int(rows["id"][0])
            newest = Segment(self._folder / f"{first_id:019d}.trades", first_id, 0, first_us)
            self._segments.append(newest)
        if self._file is None:
            self._file = os.open(newest.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def _opened(path: Path) -> Segment:
    count = path.stat().st_size // TRADE.itemsize
    os.truncate(path, count * TRADE.itemsize)
    segment = Segment(path, int(path.stem), count, 0)
    if count:
        segment.first_us = int(segment.read(0, 1)["time_us"][0])
    else:
        path.unlink()
    return segment


def _write_all(file: int, payload: bytes) -> None:
    view = memoryview(payload)
    while view:
        view = view[os.write(file, view) :]
