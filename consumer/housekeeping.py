"""What one worker does for all: leaves ahead of need, retention, and trimming the streams by progress, never by length."""

import time
from datetime import UTC, datetime, timedelta

import redis
from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.log import get_logger
from common.partitions import MONTHLY_TABLES, drop_leaves_before, ensure_month_leaves, ensure_tick_leaves
from common.settings import Settings
from common.streams import START, EntryId, connect_redis, stream_names, writers_position
from consumer.missed import mark_what_bars_missed

TRIM_EVERY_S = 1.0
LEAVES_EVERY_S = 600.0
#: A reader looks its own last entry up after a reconnect, so the last minute always stays.
KEEP_MS = 60_000

log = get_logger(__name__)


class Housekeeping:
    """Due work, looked at on each turn of the worker's loop."""

    def __init__(self, settings: Settings, client: redis.Redis | None = None) -> None:
        self._settings = settings
        self._client = client or connect_redis(settings)
        self._due_s: dict[str, float] = {}
        self._marked: dict[str, EntryId] = {}  # up to here, what bars missed is marked

    def do_what_is_due(self, connection: Connection) -> None:
        """Trim each second, look after the leaves every ten minutes."""
        for work, every_s in ((self._trim, TRIM_EVERY_S), (self._keep_leaves, LEAVES_EVERY_S)):
            if time.monotonic() >= self._due_s.get(work.__name__, 0.0):
                work(connection)
                self._due_s[work.__name__] = time.monotonic() + every_s

    def _keep_leaves(self, connection: Connection) -> None:
        today = datetime.now(UTC).date()
        days = [today + timedelta(days=offset) for offset in (-1, 0, 1, 2)]
        ensure_tick_leaves(connection, days, today)
        ensure_month_leaves(connection, [*days, today + timedelta(days=10)])
        bars = dict.fromkeys(MONTHLY_TABLES, self._settings.bar_retention_days)
        for table, keep_days in {"raw_ticks": self._settings.tick_retention_days, **bars}.items():
            if keep_days:
                for leaf in drop_leaves_before(connection, table, today - timedelta(days=keep_days)):
                    log.info("dropped %s: past its retention of %d days", leaf, keep_days)

    def _trim(self, connection: Connection) -> None:
        for shard, stream in enumerate(stream_names(self._settings)):
            ticks = writers_position(self._client, stream)
            if ticks is None:
                continue
            bars = bars_position(connection, shard)
            if bars is None or bars < ticks:
                bars = self._bars_or_ticks(connection, stream, bars, ticks)
            if bars is not None:
                self._trim_to(stream, min(ticks, bars))

    def _bars_or_ticks(self, connection: Connection, stream: str, bars: EntryId | None, ticks: EntryId) -> EntryId | None:
        """The aggregator's position; the writers' once the memory runs out: ticks never wait for bars."""
        used_mb = int(self._client.info("memory")["used_memory"]) >> 20
        if used_mb <= self._settings.stream_high_mb:
            return bars
        log.warning("Redis holds %d MB: trimming %s to what is stored; the bars of the rest will be rebuilt", used_mb, stream)
        after = max(bars or START, self._marked.get(stream, START))
        mark_what_bars_missed(self._settings, self._client, connection, stream, after, ticks)
        self._marked[stream] = ticks
        return ticks

    def _trim_to(self, stream: str, position: EntryId) -> None:
        seconds, micros = self._client.time()
        oldest_kept = EntryId(seconds * 1000 + micros // 1000 - KEEP_MS, 0)
        self._client.xtrim(stream, minid=str(min(position, oldest_kept)), approximate=True)


def bars_position(connection: Connection, shard: int) -> EntryId | None:
    """The aggregator's committed position; None if it never ran."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT position_ms, position_seq FROM checkpoints WHERE shard = %s", (shard,))
        row = cursor.fetchone()
    return EntryId(int(row[0]), int(row[1])) if row else None
