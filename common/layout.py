"""How many streams the trades are spread over. A symbol may move with that number: what waits in the old ones is read first."""

from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.codec import split_rows
from common.database import transaction
from common.errors import ConfigError
from common.log import get_logger
from common.settings import Settings
from common.streams import START, EntryId, stream_of, streams_of, writers_position

#: The number of streams that were last read.
LAYOUT = "layout"
#: A hash: stream of an earlier number -> its last entry, which all had finished when the number changed.
DRAINED = "layout:drained"

log = get_logger(__name__)


def keep_layout(settings: Settings, client: redis.Redis, connection: Connection) -> None:
    """Refuse another number of streams while those of the old one hold what a reader has not finished; note it otherwise.

    Readers ask before they read, and who appends asks before its first entry: streams of the old and the new number may have
    the same name, and an entry in one that nobody noted would look like an old one that nobody has read.

    Raises:
        ConfigError: names the streams, and how to drain them.
    """
    told: Any = client.get(LAYOUT)
    before = int(told) if told else settings.shards
    ends: dict[Any, Any] = _ends(client, streams_of(before))
    waiting = _waiting(settings, client, connection, before)
    told = client.get(LAYOUT)  # another process may have seen the streams empty, and trades may have come since
    if waiting and told and int(told) == settings.shards:
        log.warning("%s: of another GEMS_SHARDS; nobody reads what it holds", ", ".join(waiting))
    elif waiting:
        theirs = int(told) if told else _shards_of(waiting)
        raise ConfigError(
            f"GEMS_SHARDS: is {settings.shards}, and {', '.join(waiting)} of another number still holds trades that are not "
            f"stored or not in bars; start with GEMS_SHARDS={theirs} without the feed until lag and pending are 0, then change it"
        )
    elif before != settings.shards and ends:
        client.hset(DRAINED, mapping=ends)
    client.set(LAYOUT, settings.shards)


def rows_by_stream(rows: str, shards: int) -> dict[str, str]:
    """Rows of an entry that was made for another number of streams, by the stream they belong to now; in their order."""
    by_stream: dict[str, list[str]] = {}
    for row in split_rows(rows):
        by_stream.setdefault(stream_of(row.partition(",")[0], shards), []).append(row)
    return {stream: "\n".join(own) + "\n" for stream, own in by_stream.items()}


def _ends(client: redis.Redis, streams: list[str]) -> dict[str, bytes]:
    newest: dict[str, Any] = {stream: client.xrevrange(stream, count=1) for stream in streams}
    return {stream: found[0][0] for stream, found in newest.items() if found}


def _waiting(settings: Settings, client: redis.Redis, connection: Connection, before: int) -> list[str]:
    """Streams of another layout that are not finished; of the one before also those whose names are the same now."""
    names = {name.decode() for name in client.scan_iter(match="trades*", count=1000)}
    ours = streams_of(settings.shards)
    numbered = {name: shard for count in (1, before, _highest(names)) for shard, name in enumerate(streams_of(count))}
    theirs = streams_of(before) if before != settings.shards else []
    others = [name for name in sorted(names & set(numbered)) if name in theirs or name not in ours]
    return [name for name in others if not _is_finished(client, connection, name, numbered[name])]


def _highest(names: set[str]) -> int:
    numbers = [int(name[8:-1]) for name in names if name.startswith("trades{m") and name[8:-1].isdigit()]
    return max(numbers, default=0) + 1


def _shards_of(names: list[str]) -> int:
    return 1 if names == ["trades"] else max(2, _highest(set(names)))


def _is_finished(client: redis.Redis, connection: Connection, stream: str, shard: int) -> bool:
    end = _ends(client, [stream]).get(stream)
    if end is None or client.hget(DRAINED, stream) == end:
        return True
    last = EntryId.parse(end)
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT position_ms, position_seq FROM checkpoints WHERE shard = %s", (shard,))
        row = cursor.fetchone()
    bars = EntryId(int(row[0]), int(row[1])) if row else START
    return min(writers_position(client, stream) or START, bars) >= last
