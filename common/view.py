"""The aggregators' committed state, as other processes may rely on it."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import redis
from psycopg2.extensions import cursor as Cursor

from common.errors import StoreUnavailable
from common.settings import Settings
from common.streams import START, EntryId, read_range, stream_names, writers_position

_POLL_S = 0.05
#: Before the first entry that there may be, and after the last one.
NOTHING, LAST = EntryId(-1, 0), EntryId(2**63 - 1, 0)


class View(NamedTuple):
    """Positions by stream and watermarks by symbol, of one moment."""

    positions: dict[str, EntryId]
    watermarks: dict[str, int]

    def closed_us(self, symbol: str) -> int:
        """Every bar of the symbol that ends at or before this stamp is closed.

        Of a symbol that no aggregator has seen a trade of, though ticks of it may be stored (the stream lost their entries),
        nobody holds an open bar: the stream's own time counts.
        """
        return self.watermarks.get(symbol, min((at.ms for at in self.positions.values()), default=0) * 1000)

    def read_up_to(self, client: redis.Redis, stream: str) -> EntryId:
        """No entry up to this one is unread, whether the stream still holds it or not; `NOTHING` until all have read something.

        A stream of another GEMS_SHARDS was read to its end before it was left.
        """
        if min(self.positions.values(), default=START) == START:
            return NOTHING
        unread = read_range(client, stream, self.positions[stream], LAST, 1) if stream in self.positions else []
        return unread[0].id.before() if unread else LAST

    def reaching(self, entries: Mapping[str, EntryId]) -> "View":
        """The same, that also counts as stored only once these entries are."""
        positions = {stream: max(at, entries.get(stream, START)) for stream, at in self.positions.items()}
        return View({**entries, **positions}, self.watermarks)

    def is_stored(self, client: redis.Redis) -> bool:
        """True once the writers have committed every entry up to these positions that there is: a Redis that was emptied or
        replaced has none of them, and nothing to wait for."""
        return all(at == START or _is_passed(client, stream, at) for stream, at in self.positions.items())

    def behind_ms(self, client: redis.Redis) -> int:
        """How much older than the newest entry of its stream the oldest of these positions is; 0 where nothing waits."""
        newest: list[tuple[Any, EntryId]] = [(client.xrevrange(stream, count=1), at) for stream, at in self.positions.items()]
        return max([0, *(EntryId.parse(found[0][0]).ms - at.ms for found, at in newest if found)])

    def wait_stored(self, client: redis.Redis, deadline_s: float) -> None:
        """Return once `is_stored`.

        Raises:
            StoreUnavailable: the writers did not get there in time.
        """
        until_s = time.monotonic() + deadline_s
        while not self.is_stored(client):
            if time.monotonic() > until_s:
                raise StoreUnavailable(f"the writers are more than {deadline_s:.0f} s behind; ./gems status tells their lag")
            time.sleep(_POLL_S)


def committed_view(cursor: Cursor, settings: Settings) -> View:
    """What the aggregators of all shards have committed."""
    cursor.execute("SELECT shard, position_ms, position_seq, watermarks FROM checkpoints")
    streams = stream_names(settings)
    positions: dict[str, EntryId] = {}
    watermarks: dict[str, int] = {}
    for shard, ms, seq, of_shard in cursor.fetchall():
        if shard < len(streams):
            positions[streams[shard]] = EntryId(ms, int(seq))
            watermarks |= of_shard
    return View(positions, watermarks)


def _is_passed(client: redis.Redis, stream: str, at: EntryId) -> bool:
    """The position is read first: what is stored since then can only make the rest smaller."""
    stored = writers_position(client, stream) or START
    return stored >= at or not read_range(client, stream, stored, at, 1)
