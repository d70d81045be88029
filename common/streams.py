"""The Redis streams.

`trades` (`trades{m0}` ... with several shards): every trade's way in, micro-batches of rows; consumer group `writers`.
`live`: what has just happened, for the web's SSE; fields `event` and `data` (one line of JSON).
`health:<process>`: a hash of facts that the process last told about itself, gone 30 s after its last word.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.settings import Settings

GROUP = "writers"
LIVE = "live"
ENTRY_VERSION = b"1"
#: Characters of an unreadable entry that its dead letter keeps.
MOST_PAYLOAD = 1_000

#: Faults of Redis that pass: away, loading, full, failing over. Anything else is a bug.
TRANSIENT = (
    redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError, redis.OutOfMemoryError, OSError,
)  # fmt: skip


class EntryId(NamedTuple):
    """A position in a stream; compared as numbers (as text, 1-10 would come before 1-9)."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: bytes | str) -> "EntryId":
        """Of `1700000000000-3`."""
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(seq or 0))

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    def before(self) -> "EntryId":
        """The largest possible id below this one."""
        return EntryId(self.ms, self.seq - 1) if self.seq else EntryId(max(0, self.ms - 1), 2**64 - 1)


START = EntryId(0, 0)


class Fault(NamedTuple):
    """Why an entry has no rows to read, and what it has instead."""

    reason: str
    payload: str


class Entry(NamedTuple):
    """A stream entry: a micro-batch of rows; one with a fault has none, and is a dead letter as a whole."""

    id: EntryId
    src: str
    rows: bytes
    fault: Fault | None = None


class ReadSize:
    """How many entries to ask for, to get about as many rows as one piece of work is to have.

    An entry has one row at a quiet hour and a thousand in a backlog, and a read is bounded in entries alone: so the first reads
    take entries for full, larger ones are believed at once, and smaller ones bit by bit.
    """

    def __init__(self, rows: int, full_entry_rows: int, most: int = 1_000) -> None:
        self.rows, self._most = rows, most
        self._rows_per_entry = float(full_entry_rows)

    def entries(self) -> int:
        """Entries to ask for next."""
        return max(1, min(self._most, int(self.rows / self._rows_per_entry)))

    def note(self, entries: Sequence[Entry]) -> None:
        """These were read."""
        mean = sum(entry.rows.count(b"\n") for entry in entries) / len(entries)
        self._rows_per_entry = max(1.0, mean, (self._rows_per_entry + mean) / 2)


def in_pieces(entries: Sequence[Entry], rows: int) -> Iterator[Sequence[Entry]]:
    """Entries in pieces of at most that many rows; a larger entry is a piece of its own."""
    first = held = 0
    for at, entry in enumerate(entries):
        count = entry.rows.count(b"\n")
        if held and held + count > rows:
            yield entries[first:at]
            first, held = at, 0
        held += count
    if entries[first:]:
        yield entries[first:]


def connect_redis(settings: Settings, **options: Any) -> redis.Redis:
    """A client that answers bytes. Retries are the caller's business: it knows what may be sent twice."""
    options = {"socket_timeout": 30, "socket_connect_timeout": 5, "protocol": 2, **options}
    return redis.Redis.from_url(settings.redis_url, retry=Retry(NoBackoff(), 0), **options)


def stream_names(settings: Settings) -> list[str]:
    """All streams of trades, by shard."""
    return streams_of(settings.shards)


def streams_of(shards: int) -> list[str]:
    """All streams of that many shards."""
    return ["trades"] if shards == 1 else [f"trades{{m{shard}}}" for shard in range(shards)]


def shard_of(symbol: str, shards: int) -> int:
    """Which shard a symbol's trades always go to."""
    return zlib.crc32(symbol.encode()) % shards if shards > 1 else 0


def stream_of(symbol: str, shards: int) -> str:
    """The stream that a symbol's trades go to."""
    return "trades" if shards == 1 else f"trades{{m{shard_of(symbol, shards)}}}"


def append(client: "redis.Redis | redis.client.Pipeline", stream: str, src: str, rows: str, count: int) -> Any:
    """Add an entry of `count` rows from one source; answers its id (in a pipeline, later)."""
    return client.xadd(stream, {"v": ENTRY_VERSION, "n": count, "src": src, "rows": rows})


def to_entry(raw_id: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """An entry as redis-py answers it, `fields` None where it is no more. `src` is such that PostgreSQL can keep it."""
    if fields is None:
        return lost_entry(EntryId.parse(raw_id))
    src = _printable(fields.get(b"src", b""))
    rows = fields.get(b"rows", b"")
    if rows and fields.get(b"v", ENTRY_VERSION) == ENTRY_VERSION:
        return Entry(EntryId.parse(raw_id), src, rows)
    reason = _fault_of(fields)
    payload = " ".join([f"{_printable(name)}={_printable(value)}" for name, value in fields.items()])
    return Entry(EntryId.parse(raw_id), src, b"", Fault(reason, payload[:MOST_PAYLOAD]) if reason else None)


def lost_entry(at: EntryId) -> Entry:
    """An entry that was deleted while somebody had it: nobody can tell what was in it, nor if it was stored."""
    return Entry(at, "", b"", Fault("the entry was deleted from the stream before it was acknowledged", ""))


def _fault_of(fields: dict[bytes, bytes]) -> str:
    """Why an entry has no rows that can be read; empty where it says itself that it has none."""
    version, count = fields.get(b"v", ENTRY_VERSION), fields.get(b"n", b"0")
    if version != ENTRY_VERSION:
        return f"v must be {ENTRY_VERSION.decode()}, was {_printable(version)!r:.40}: an entry of another version of this program"
    if b"rows" not in fields:
        return "the entry has no field rows"
    return "" if count == b"0" else f"rows is empty and n is {_printable(count)!r:.40}"


def _printable(text: bytes) -> str:
    return text.decode("utf-8", "replace").replace("\x00", "\\x00")


def read_range(client: redis.Redis, stream: str, after: EntryId, last: EntryId, count: int) -> list[Entry]:
    """Up to `count` entries in `(after, last]`, oldest first."""
    found: Any = client.xrange(stream, min=f"({after}", max=str(last), count=count)
    return [to_entry(*item) for item in found]


def last_delivered(client: redis.Redis, stream: str) -> EntryId | None:
    """The group's last delivered entry; None without stream or group."""
    try:
        groups: Any = client.xinfo_groups(stream)
    except redis.ResponseError:
        return None
    return next((EntryId.parse(group["last-delivered-id"]) for group in groups if group["name"] == GROUP.encode()), None)


def writers_position(client: redis.Redis, stream: str) -> EntryId | None:
    """Every entry up to here is committed; None without a group.

    Read in this order: an entry delivered after the first call can only make the answer smaller.
    """
    delivered = last_delivered(client, stream)
    if delivered is None:
        return None
    summary: Any = client.xpending(stream, GROUP)
    oldest = summary["min"]
    return min(delivered, EntryId.parse(oldest).before()) if oldest else delivered


def server_identity(client: redis.Redis) -> str:
    """The server's `run_id`: it changes at every start, also after a failover."""
    return str(client.info("server")["run_id"])
