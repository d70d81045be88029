"""What `./gems status` tells of an instance; what can not be asked now is None or empty, with a line in `away`."""

import time
from contextlib import closing
from typing import Any

import psycopg2
import redis
from psycopg2.extensions import connection as Connection

from common.database import connect_database
from common.settings import Settings
from common.streams import GROUP, EntryId, connect_redis, stream_names
from ops.house import House
from ops.supervised import last_words, processes
from ops.troubles import sentences

_RATE_OVER_S = 1.0
#: Entries are counted by reading them; past this many nobody needs the number.
_COUNTED_AT_MOST = 200

_COUNTED = ("ticks", "bars", "late", "dead_letters", "gaps_open", "tasks_open", "marks")
_COUNTERS = """
SELECT (SELECT coalesce(sum(stored), 0) FROM writer_positions), (SELECT coalesce(sum(bars), 0) FROM checkpoints),
       (SELECT coalesce(sum(late), 0) FROM checkpoints), (SELECT count(*) FROM dead_letters),
       (SELECT count(*) FROM gaps WHERE state = 'open'), (SELECT count(*) FROM tasks WHERE state IN ('queued', 'running')),
       (SELECT count(*) FROM dirty_ranges)
"""
_OUTBOX = """
SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead'),
       extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting'))::float8
FROM alert_deliveries WHERE state IN ('waiting', 'dead')
"""
_NEWEST = """
SELECT symbol, extract(epoch FROM now() - (SELECT max(timestamp) FROM raw_ticks AS tick
       WHERE tick.symbol = sources.symbol AND timestamp > now() - interval '2 days'))
FROM sources ORDER BY symbol
"""


def gather(house: House) -> dict[str, Any]:
    """All facts; takes about a second, since a rate needs two looks.

    Raises:
        NotRunning: no supervisor answers, and the settings do not name servers of the user's own.
    """
    settings = house.settings()
    away: list[str] = []
    stored = _ask("PostgreSQL", away, lambda: _stored(settings))
    positions = stored.pop("positions", {})
    streams = _ask("Redis", away, lambda: _streams(settings, positions))
    facts = {
        "data_dir": str(house.data_dir),
        "feed": settings.feed,
        "dashboard": house.dashboard(settings),
        "processes": processes(house, _ask("Redis", [], lambda: _told(settings))),
        **dict.fromkeys(("rate_per_s", *_COUNTED)),
        "last_trade_age_s": {},
        "outbox": {},
        **stored,
        "streams": list(streams.values()),
        "away": away,
    }
    health, words = _ask("Redis", [], lambda: _redis_health(settings)), last_words(house, facts["processes"])
    return {**facts, "troubles": sentences(facts, health, spool_bytes(house), words)}


def spool_bytes(house: House) -> int:
    """What waits on this disk until Redis takes it; 0 where it can not be read."""
    try:
        return sum(path.stat().st_size for path in (house.data_dir / "spool").glob("*.spool"))
    except OSError:
        return 0


def _redis_health(settings: Settings) -> dict[str, Any]:
    with connect_redis(settings, socket_timeout=5) as client:
        found: Any = client.info("everything")
    used, most = int(found["used_memory"]), int(found.get("maxmemory", 0))
    return {
        "full": bool(most) and used >= most, "file": found.get("aof_last_write_status", "ok") == "ok",
        "used_mb": used >> 20, "max_mb": most >> 20,
    }  # fmt: skip


def _ask(server: str, away: list[str], question: Any) -> dict[Any, Any]:
    try:
        answer: dict[Any, Any] = question()
    except (psycopg2.Error, redis.RedisError, OSError) as exc:
        away.append(f"{server}: {(str(exc).strip() or type(exc).__name__).splitlines()[0]}")
        return {}
    return answer


def _stored(settings: Settings) -> dict[str, Any]:
    with closing(connect_database(settings, "status", autocommit=True)) as connection:
        began_s, before = time.monotonic(), _counters(connection)
        newest = _rows(connection, _NEWEST)
        waiting, dead, oldest_s = _rows(connection, _OUTBOX)[0]
        positions = _rows(connection, "SELECT shard, position_ms, position_seq FROM checkpoints")
        time.sleep(max(0.0, _RATE_OVER_S - (time.monotonic() - began_s)))
        after, took_s = _counters(connection), time.monotonic() - began_s
    return {
        **dict(zip(_COUNTED, map(int, after), strict=True)),
        "rate_per_s": round(float(after[0] - before[0]) / took_s, 1),
        "last_trade_age_s": {symbol: None if age is None else round(float(age), 3) for symbol, age in newest},
        "outbox": {"waiting": waiting, "dead": dead, "oldest_waiting_s": None if oldest_s is None else round(oldest_s, 3)},
        "positions": {shard: EntryId(int(ms), int(seq)) for shard, ms, seq in positions},
    }


def _counters(connection: Connection) -> tuple[Any, ...]:
    return _rows(connection, _COUNTERS)[0]


def _rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def _streams(settings: Settings, positions: dict[int, EntryId]) -> dict[str, Any]:
    with connect_redis(settings, socket_timeout=5) as client:
        names = enumerate(stream_names(settings))
        return {name: _stream(client, name, f"aggregator_{shard}", positions.get(shard)) for shard, name in names}


def _stream(client: redis.Redis, name: str, aggregator: str, position: EntryId | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "length": 0, "readers": []}
    if not client.exists(name):
        return facts
    facts["length"] = client.xlen(name)
    for group in client.xinfo_groups(name):
        delivered = EntryId.parse(group["last-delivered-id"])
        waiting = _waiting(client, name, delivered)
        oldest = client.xpending(name, group["name"])["min"] if group["pending"] else None
        since = min([EntryId.parse(raw) for raw in (oldest, waiting[0] if waiting else None) if raw], default=None)
        entries = group["lag"] if group["name"] == GROUP.encode() else _count(waiting)
        facts["readers"].append(_reader(client, group["name"].decode(), entries, group["pending"], since))
    if position is not None:
        waiting = _waiting(client, name, position)
        since = EntryId.parse(waiting[0]) if waiting else None
        facts["readers"].append(_reader(client, aggregator, _count(waiting), 0, since))
    return facts


def _reader(client: redis.Redis, name: str, entries: int | None, pending: int, since: EntryId | None) -> dict[str, Any]:
    """Lag in entries (None: too many to count), and in seconds since the first entry that it has not finished came."""
    seconds, micros = client.time()
    lag_s = max(0.0, seconds + micros / 1e6 - since.ms / 1000) if since else 0.0
    return {"name": name, "lag_entries": entries, "lag_s": round(lag_s, 3), "pending": pending}


def _waiting(client: redis.Redis, name: str, after: EntryId) -> list[bytes]:
    """Ids of the first entries after a position."""
    found: Any = client.xrange(name, f"({after}", count=_COUNTED_AT_MOST)
    return [raw_id for raw_id, _ in found]


def _count(waiting: list[bytes]) -> int | None:
    return len(waiting) if len(waiting) < _COUNTED_AT_MOST else None


def _told(settings: Settings) -> dict[str, Any]:
    """What each process last said of itself, by its name."""
    with connect_redis(settings, socket_timeout=5) as client:
        keys = [f"health:{key.decode().partition(':')[2]}" for key in client.scan_iter("health:*", count=1000)]
        hashes = {key.partition(":")[2]: client.hgetall(key) for key in sorted(keys)}
    return {name: {field.decode(): _number(text.decode()) for field, text in facts.items()} for name, facts in hashes.items()}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
