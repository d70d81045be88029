"""Laws 1 and 2 by what the readers remember: positions against the stream, counters against rows, and the unique indexes."""

from typing import Any

import redis
from psycopg2.extensions import cursor as Cursor

from common.settings import Settings
from common.streams import GROUP, START, EntryId, last_delivered, stream_names
from ops.verify.report import Check, Finding

_WRITERS = """
SELECT DISTINCT ON (stream) stream, position_ms, position_seq FROM writer_positions
ORDER BY stream, position_ms DESC, position_seq DESC
"""
_UNGUARDED = """
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'raw_ticks'::regclass AND NOT EXISTS (
    SELECT 1 FROM pg_index i WHERE i.indrelid = inhrelid AND i.indisunique AND i.indisvalid) ORDER BY 1
"""


def check_positions(cursor: Cursor, client: redis.Redis, settings: Settings) -> Check:
    """Each reader has a position, and none is ahead of its stream; entries that wait are counted."""
    check = Check(1, "positions in the stream", "readers")
    cursor.execute("SELECT shard, position_ms, position_seq FROM checkpoints")
    bars = {shard: EntryId(int(ms), int(seq)) for shard, ms, seq in cursor.fetchall()}
    cursor.execute(_WRITERS)
    ticks = {stream: EntryId(int(ms), int(seq)) for stream, ms, seq in cursor.fetchall()}
    for shard, stream in enumerate(stream_names(settings)):
        last = _last_entry(client, stream)
        readers = {f"aggregator {shard}": bars.get(shard), "writers": ticks.get(stream)}
        for reader, position in readers.items():
            check.checked += 1
            check.add(_position_findings(reader, position, stream, last))
        if last is not None:
            check.add(_group_findings(client, stream, check))
    return check


def _position_findings(reader: str, position: EntryId | None, stream: str, last: EntryId | None) -> list[Finding]:
    if position is None:
        return [] if last is None else [Finding(f"{reader} never took anything of {stream}, which has entries up to {last}")]
    if position > (last or START):
        have = f"whose last entry is {last}" if last else "which is gone"
        return [Finding(f"{reader}: its position {position} is ahead of {stream}, {have}")]
    return []


def _group_findings(client: redis.Redis, stream: str, check: Check) -> list[Finding]:
    if last_delivered(client, stream) is None:
        return [Finding(f"{stream} has no group {GROUP}: nobody stores its entries")]
    pending: Any = client.xpending(stream, GROUP)
    if not pending["pending"]:
        return []
    check.known.append(f"{pending['pending']:,} entries of {stream} are read and not yet stored")
    first: Any = client.xrange(stream, count=1)
    oldest = EntryId.parse(pending["min"])
    if first and oldest < EntryId.parse(first[0][0]) and _is_still_pending(client, stream, oldest):
        return [Finding(f"entry {oldest} of {stream} was trimmed before it was stored")]
    return []


def _is_still_pending(client: redis.Redis, stream: str, entry: EntryId) -> bool:
    return bool(client.xpending_range(stream, GROUP, str(entry), str(entry), 1))


def _last_entry(client: redis.Redis, stream: str) -> EntryId | None:
    """The newest entry the stream ever had; None without a stream or where nothing was ever added."""
    if not client.exists(stream):
        return None
    told: Any = client.xinfo_stream(stream)
    last = EntryId.parse(told["last-generated-id"])
    return None if last == START else last


def check_counters(cursor: Cursor, settings: Settings) -> Check:
    """What the workers counted as stored against the rows there, of one snapshot."""
    cursor.execute("SELECT count(*), (SELECT coalesce(sum(stored), 0) FROM writer_positions) FROM raw_ticks")
    row = cursor.fetchone()
    assert row, "an aggregate answers a row"
    there, counted = int(row[0]), int(row[1])
    check = Check(1, "ticks as counted by the workers", "ticks", checked=there)
    if settings.tick_retention_days and there < counted:
        check.known.append(f"{counted - there:,} ticks are past their retention of {settings.tick_retention_days} days")
    elif there != counted:
        what = "fewer" if there < counted else "more"
        told = f"{there:,} ticks are stored, {abs(there - counted):,} {what} than the workers counted ({counted:,})"
        check.add([Finding(told)])
    return check


def check_letters(cursor: Cursor) -> Check:
    """What no table took: visible and counted, which is what law 1 asks for."""
    cursor.execute("SELECT count(*) FROM dead_letters")
    row = cursor.fetchone()
    check = Check(1, "dead letters", "letters", checked=int(row[0]) if row else 0)
    if check.checked:
        check.known.append(f"{check.checked:,} rows were no trades: ./gems dead-letters list")
    return check


def check_indexes(cursor: Cursor) -> Check:
    """Every leaf has the unique index that stores a trade once."""
    cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'raw_ticks'::regclass")
    row = cursor.fetchone()
    check = Check(2, "a unique index on each leaf of raw_ticks", "leaves", checked=int(row[0]) if row else 0)
    cursor.execute(_UNGUARDED)
    check.add([Finding(f"{leaf} has no unique index: a trade may be stored twice in it") for (leaf,) in cursor.fetchall()])
    return check
