"""The facts of the pipeline's health: how much comes, who lags, what is missing. Gathered at most once a second."""

import contextlib
import threading
import time
from typing import Any, NamedTuple

import orjson
import redis

from common.codec import iso_us
from common.streams import GROUP, START, EntryId, stream_names
from web.queries.health import stored_facts
from web.stores import Stores

KEEP_S = 1.0
#: Entries behind the aggregator are counted by reading them; of more nobody needs the number.
COUNTED_AT_MOST = 50


class Health:
    """Gathers the facts, and remembers the last ones: a rate needs two moments."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._lock = threading.Lock()
        self._facts: dict[str, Any] = {}
        self._until_s = 0.0
        self._stored = (0.0, 0)  # monotonic seconds, ticks stored by then

    def facts(self) -> dict[str, Any]:
        """See `GET /api/health/`; raises what the stores raise while they are away."""
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._facts = self._gather()
                self._until_s = time.monotonic() + KEEP_S
            return self._facts

    def _gather(self) -> dict[str, Any]:
        client = self._stores.redis
        seconds, us = client.time()
        now_us = int(seconds) * 1_000_000 + int(us)
        stored = stored_facts(self._stores)
        told = processes(client, now_us / 1e6)
        positions = {int(shard): EntryId(ms, int(seq)) for shard, ms, seq in stored["positions"]}
        streams = [
            stream_facts(client, name, now_us // 1000, positions.get(shard))
            for shard, name in enumerate(stream_names(self._stores.settings))
        ]
        return {
            "at": iso_us(now_us),
            "rate": self._rate(stored["ticks"]),
            "ticks": stored["ticks"],
            "bars": stored["bars"],
            "late": stored["late"],
            "gaps_open": stored["gaps_open"],
            "dead_letters": stored["dead"],
            "stream": {
                "length": sum(s["length"] for s in streams),
                "lag_entries": _total([s["lag_entries"] for s in streams]),
                "pending": sum(s["pending"] for s in streams),
                "writers_lag_s": max(s["writers_lag_s"] for s in streams),
                "aggregator_lag_s": _worst([s["aggregator_lag_s"] for s in streams]),
            },
            "last_trade_age_s": last_trade_ages(told, stored["last_trade_s"], now_us / 1e6),
            "processes": told,
        }

    def _rate(self, ticks: int) -> float | None:
        """Ticks stored a second since the last look; None at the first."""
        (then_s, before), now_s = self._stored, time.monotonic()
        self._stored = (now_s, ticks)
        return round(max(0, ticks - before) / (now_s - then_s), 1) if then_s else None


class RedisMemory(NamedTuple):
    """Bytes, `limit` 0: none; and whether Redis takes anything: it is not full, and can write its file."""

    used: int
    limit: int
    is_writable: bool


def redis_memory(client: redis.Redis) -> RedisMemory:
    """What Redis says of its memory and its file."""
    info: Any = client.info("everything")
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    full = bool(limit) and used >= limit
    return RedisMemory(used, limit, not full and info.get("aof_last_write_status", "ok") == "ok")


def stream_facts(client: redis.Redis, name: str, now_ms: int, aggregated: EntryId | None) -> dict[str, Any]:
    """Length, and what the writers and the aggregator still have before them."""
    facts: dict[str, Any] = {"length": 0, "lag_entries": 0, "pending": 0, "writers_lag_s": 0.0}
    facts |= {"pending_oldest_s": 0.0, "aggregator_lag_s": None}
    try:
        newest = EntryId.parse(client.xinfo_stream(name)["last-generated-id"])
        groups = {group["name"]: group for group in client.xinfo_groups(name)}
    except redis.ResponseError as exc:
        if "no such key" not in str(exc):
            raise
        return facts
    facts["length"] = client.xlen(name)
    if aggregated is not None:
        facts["aggregator_lag_s"] = _waited_s(client, name, aggregated, newest, now_ms)
    writers = groups.get(GROUP.encode())
    if not writers:
        facts["writers_lag_s"] = _waited_s(client, name, START, newest, now_ms)
    else:
        facts.update(lag_entries=writers["lag"], pending=writers["pending"])
        delivered = EntryId.parse(writers["last-delivered-id"])
        facts["writers_lag_s"] = _waited_s(client, name, delivered, newest, now_ms)
        oldest = client.xpending(name, GROUP)["min"] if writers["pending"] else None
        if oldest:  # else what was pending a moment ago is acknowledged by now
            facts["pending_oldest_s"] = round(max(0, now_ms - EntryId.parse(oldest).ms) / 1000, 3)
            facts["writers_lag_s"] = max(facts["writers_lag_s"], facts["pending_oldest_s"])
    return facts


def _waited_s(client: redis.Redis, name: str, position: EntryId, newest: EntryId, now_ms: int) -> float:
    """How long the first entry after a position has been waiting; 0 if there is none."""
    if position >= newest:
        return 0.0
    waiting: Any = client.xrange(name, f"({position}", count=1)
    return round(max(0, now_ms - EntryId.parse(waiting[0][0]).ms) / 1000, 3) if waiting else 0.0


def waiting_entries(client: redis.Redis, name: str, position: EntryId) -> int | None:
    """Entries after a position; None: too many to count by reading them."""
    found: Any = client.xrange(name, f"({position}", count=COUNTED_AT_MOST)
    return len(found) if len(found) < COUNTED_AT_MOST else None


def processes(client: redis.Redis, now_s: float) -> list[dict[str, Any]]:
    """What each process last said of itself, and how long ago."""
    keys = sorted(client.scan_iter("health:*", count=1000))
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.hgetall(key)
    told = []
    for key, fields in zip(keys, pipe.execute() if keys else [], strict=True):
        facts = {name.decode(): _fact(text.decode()) for name, text in fields.items()}
        at = facts.pop("at", None)
        if isinstance(at, int | float):
            told.append({"name": key.decode().partition(":")[2], "age_s": round(max(0.0, now_s - at), 3), "facts": facts})
    return told


def last_trade_ages(told: list[dict[str, Any]], newest_bar_s: dict[str, float], now_s: float) -> dict[str, float]:
    """Seconds since each symbol's last trade: by what the producers say, else by the start of its newest bar."""
    last_s = dict(newest_bar_s)
    for process in told:
        by_symbol = process["facts"].get("last_trade_us")
        for symbol, at_us in by_symbol.items() if isinstance(by_symbol, dict) else ():
            last_s[symbol] = max(last_s.get(symbol, 0.0), at_us / 1e6)
    return {symbol: round(max(0.0, now_s - at_s), 3) for symbol, at_s in sorted(last_s.items())}


def _fact(text: str) -> Any:
    """A fact as it was before Redis made it text: a number, an object of numbers, or the text."""
    if text.startswith("{"):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    return _number(text)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text) if text.lower() not in ("nan", "inf", "-inf") else text
        except ValueError:
            continue
    return text


def _total(lags: list[int | None]) -> int | None:
    """Redis can not always tell a lag (after XDEL, say)."""
    return None if any(lag is None for lag in lags) else sum(lag for lag in lags if lag is not None)


def _worst(lags: list[float | None]) -> float | None:
    return max((lag for lag in lags if lag is not None), default=None)
