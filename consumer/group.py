"""The group `writers` on its streams: reading in turn own pending then new, taking over, going back, trimming."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import redis

from common.log import get_logger
from common.streams import GROUP, START, Entry, EntryId, last_delivered, lost_entry, read_range, to_entry

_PAGE = 100

log = get_logger(__name__)


class Committed(NamedTuple):
    """What PostgreSQL has of a worker on a stream."""

    position: EntryId
    rows: int  # all that it ever stored, found repeated or buried


_NOTHING = Committed(START, 0)


def done_key(stream: str) -> str:
    """A hash beside the stream: worker -> rows that PostgreSQL had when it last acknowledged."""
    return f"done:{stream}"


class WritersGroup:
    """One worker's view of the group, on all streams."""

    def __init__(self, client: redis.Redis, streams: Sequence[str], consumer: str) -> None:
        self._client, self._streams, self._consumer = client, list(streams), consumer

    def ensure(self) -> None:
        """Create the group where it is missing, from the first entry on: what is read twice is stored once."""
        for stream in self._streams:
            try:
                self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
                log.info("created group %s on %s; it reads from the first entry", GROUP, stream)
            except redis.ResponseError as exc:
                if "BUSYGROUP" not in str(exc):
                    raise

    def read_new(self, count: int, block_ms: int) -> dict[str, list[Entry]]:
        """Up to `count` entries a stream that nobody has; waits up to `block_ms` for the first."""
        found = self._client.xreadgroup(GROUP, self._consumer, dict.fromkeys(self._streams, ">"), count=count, block=block_ms)
        return {stream: entries for stream, entries in _by_stream(found) if entries}

    def read_pending(self, stream: str, after: EntryId, count: int) -> list[Entry]:
        """This worker's own unacknowledged entries after a position, also those that the stream no longer holds."""
        found = self._client.xreadgroup(GROUP, self._consumer, {stream: str(after)}, count=count)
        return next((entries for _, entries in _by_stream(found)), [])

    def claim(self, stream: str, idle_ms: int, count: int) -> Iterator[list[Entry]]:
        """Take over what other workers have left for that long, also entries that were deleted meanwhile."""
        cursor: bytes | str = "0-0"
        while True:
            cursor, raw, deleted = self._client.xautoclaim(stream, GROUP, self._consumer, idle_ms, cursor, count=count)
            entries = [*[to_entry(*item) for item in raw], *[lost_entry(EntryId.parse(raw_id)) for raw_id in deleted]]
            if entries:
                yield entries
            if cursor in (b"0-0", "0-0"):
                return

    def ack(self, stream: str, entries: Sequence[Entry], rows_done: int) -> bool:
        """These entries are committed; `rows_done` counts all rows that PostgreSQL had of this worker with that commit.

        False if Redis no longer took one of them for delivered: it was flushed, came back older, or another worker was faster.
        """
        pipe = self._client.pipeline(transaction=True)
        pipe.xack(stream, GROUP, *[str(entry.id) for entry in entries])
        pipe.hset(done_key(stream), self._consumer, str(rows_done))
        return bool(pipe.execute()[0] == len(entries))

    def is_ahead(self, stream: str, committed: Callable[[], Mapping[str, Committed]]) -> bool:
        """True if the group calls done what PostgreSQL does not have: that was restored from a backup.

        In normal work PostgreSQL has at least the rows of each worker that were counted with its acknowledgements. Where nothing
        was counted, every entry after the largest position is pending with somebody, or new. Other workers go on meanwhile: what
        Redis calls done is held against what `committed` tells afterwards, for a commit comes before its acknowledgement.
        """
        done: Any = self._client.hgetall(done_key(stream))
        found = committed()
        if any(found.get(worker.decode(), _NOTHING).rows < int(count) for worker, count in done.items()):
            return True
        delivered = last_delivered(self._client, stream) or START
        newest = _newest(found)
        while acknowledged := self._first_acknowledged(stream, newest, delivered):
            newest = _newest(committed())
            if acknowledged > newest:
                return True
        return False

    def go_back(self, stream: str) -> None:
        """Deliver all that the stream holds once more: positions do not tell which older entries a worker had taken over."""
        self._client.xgroup_setid(stream, GROUP, "0")

    def count_anew(self, stream: str) -> None:
        """What PostgreSQL lacks is dealt with: `is_ahead` compares with what is done from now on."""
        self._client.delete(done_key(stream))

    def _first_acknowledged(self, stream: str, after: EntryId, last: EntryId) -> EntryId | None:
        """The first entry in `(after, last]` that is pending with nobody; None if there is none."""
        while after < last and (entries := read_range(self._client, stream, after, last, _PAGE)):
            first, after = entries[0].id, entries[-1].id
            found: Any = self._client.xpending_range(stream, GROUP, str(first), str(after), _PAGE)
            pending = {EntryId.parse(each["message_id"]) for each in found}
            if acknowledged := [entry.id for entry in entries if entry.id not in pending]:
                return acknowledged[0]
        return None


def _newest(committed: Mapping[str, Committed]) -> EntryId:
    return max((each.position for each in committed.values()), default=START)


def _by_stream(found: Any) -> Iterator[tuple[str, list[Entry]]]:
    for stream, raw in found or ():
        yield stream.decode(), [to_entry(*item) for item in raw]
