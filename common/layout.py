"""How many streams the trades are spread over. A symbol may move with that number: what waits in the old ones is read first."""

from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.errors import ConfigError
from common.log import get_logger
from common.settings import Settings
from common.streams import START, EntryId, streams_of, writers_position

#: The number of streams that were last read.
LAYOUT = "layout"

log = get_logger(__name__)


def keep_layout(settings: Settings, client: redis.Redis, connection: Connection) -> None:
    """Refuse another number of streams while those of the old one hold what a reader has not finished; note it otherwise.

    Raises:
        ConfigError: names the streams, and how to drain them.
    """
    told: Any = client.get(LAYOUT)
    waiting = _waiting(settings, client, connection, int(told) if told else settings.shards)
    told = client.get(LAYOUT)  # another process may have seen the streams empty, and trades may have come since
    if waiting and told and int(told) == settings.shards:
        log.warning("%s: of another GEMS_SHARDS; nobody reads what it holds", ", ".join(waiting))
    elif waiting:
        before = int(told) if told else _shards_of(waiting)
        raise ConfigError(
            f"GEMS_SHARDS: is {settings.shards}, and {', '.join(waiting)} of another number still holds trades that are not "
            f"stored or not in bars; start with GEMS_SHARDS={before} without the feed until lag and pending are 0, then change it"
        )
    client.set(LAYOUT, settings.shards)


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
    newest: Any = client.xrevrange(stream, count=1)
    if not newest:
        return True
    last = EntryId.parse(newest[0][0])
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT position_ms, position_seq FROM checkpoints WHERE shard = %s", (shard,))
        row = cursor.fetchone()
    bars = EntryId(int(row[0]), int(row[1])) if row else START
    return min(writers_position(client, stream) or START, bars) >= last
