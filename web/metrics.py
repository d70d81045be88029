"""`GET /metrics` for Prometheus.

What the pipeline does is read from Redis and PostgreSQL at each scrape, so it is the same whichever process answers, and the
scrape answers with `gems_redis_up 0` or `gems_postgres_up 0` while one of them is away. Only requests are counted in here.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import redis
from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.errors import GemsError
from common.log import get_logger
from common.streams import EntryId, stream_names
from web.families import FAMILIES, Families
from web.health import processes, stream_facts, waiting_entries
from web.live import Hub
from web.queries.metrics import counted
from web.stores import Stores

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

log = get_logger(__name__)


class StoreCollector(Collector):
    """Asks both stores at each scrape."""

    def __init__(self, stores: Stores, hub: Hub) -> None:
        self._stores, self._hub = stores, hub
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Nothing ahead of the first scrape: neither store has to be up when the web starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything that can be told now."""
        families = Families()
        with self._lock:
            stored = self._ask("postgres", families, lambda: self._stored(families))
            positions = {int(row[0]): EntryId(row[1], int(row[2])) for row in stored["shards"]} if stored else {}
            self._ask("redis", families, lambda: self._told(families, positions))
        families.set("gems_sse_clients", self._hub.serving)
        families.set("gems_sse_clients_limit", self._hub.capacity)
        yield from families

    def _ask(self, store: str, families: Families, question: Callable[[], Any]) -> Any:
        try:
            answer = question()
        except (psycopg2.Error, PoolTimeout, redis.RedisError, OSError, GemsError) as exc:
            log.info("metrics without %s: %s", store, str(exc).strip().splitlines()[:1])
            families.set(f"gems_{store}_up", 0)
            return None
        families.set(f"gems_{store}_up", 1)
        return answer

    def _stored(self, families: Families) -> dict[str, Any]:
        found = counted(self._stores)
        for worker, stream, stored, repeated, dead in found["writers"]:
            families.set("gems_ticks_stored", stored, worker, stream)
            families.set("gems_ticks_repeated", repeated, worker, stream)
            families.set("gems_rows_refused", dead, worker, stream)
        for shard, _, _, bars, late in found["shards"]:
            families.set("gems_bars_closed", bars, str(shard))
            families.set("gems_trades_late", late, str(shard))
        for state, count, ids in [*found["gaps"], *[(state, 0, 0) for state in ("open", "closed", "lost")]]:
            families.set("gems_gaps", count, state)
            families.set("gems_gap_trades", ids, state)
        for stream, count in found["dead_letters"]:
            families.set("gems_dead_letters", count, stream)
        for state, count in found["tasks"]:
            families.set("gems_tasks", count, state)
        families.set("gems_rebuilds_waiting", found["marks"])
        families.set("gems_bars_revised", found["revised"])
        return found

    def _told(self, families: Families, positions: dict[int, EntryId]) -> None:
        client = self._stores.redis
        seconds, us = client.time()
        self._memory(client, families)
        for shard, name in enumerate(stream_names(self._stores.settings)):
            position = positions.get(shard)
            self._stream(families, name, shard, stream_facts(client, name, int(seconds) * 1000 + us // 1000, position))
            if position is not None:
                families.set("gems_reader_lag_entries", waiting_entries(client, name, position), name, f"aggregator_{shard}")
        for process in processes(client, int(seconds) + us / 1e6):
            families.set("gems_process_last_word_seconds", process["age_s"], process["name"])
            if process["name"].startswith("producer"):
                self._producer(families, process["name"], process["facts"], int(seconds) + us / 1e6)

    @staticmethod
    def _memory(client: redis.Redis, families: Families) -> None:
        info: Any = client.info("everything")
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        families.set("gems_redis_memory_bytes", used)
        families.set("gems_redis_memory_limit_bytes", limit)
        full = bool(limit) and used >= limit
        families.set("gems_redis_writable", int(not full and info.get("aof_last_write_status", "ok") == "ok"))

    @staticmethod
    def _stream(families: Families, name: str, shard: int, facts: dict[str, Any]) -> None:
        families.set("gems_stream_entries", facts["length"], name)
        families.set("gems_pending_entries", facts["pending"], name)
        families.set("gems_pending_oldest_seconds", facts["pending_oldest_s"], name)
        families.set("gems_reader_lag_seconds", facts["writers_lag_s"], name, "writers")
        families.set("gems_reader_lag_entries", facts["lag_entries"], name, "writers")
        families.set("gems_reader_lag_seconds", facts["aggregator_lag_s"], name, f"aggregator_{shard}")

    @staticmethod
    def _producer(families: Families, name: str, facts: dict[str, Any], now_s: float) -> None:
        ahead_ms = facts.get("clock_ahead_ms")
        families.set("gems_producer_clock_ahead_seconds", ahead_ms / 1000 if isinstance(ahead_ms, int) else None, name)
        for family in FAMILIES:
            if family.startswith("gems_producer_"):
                families.set(family, facts.get(family.removeprefix("gems_producer_")), name)
        newest = facts.get("last_trade_us")
        for symbol, at_us in newest.items() if isinstance(newest, dict) else ():
            families.set("gems_symbol_last_trade_age_seconds", max(0.0, now_s - at_us / 1e6), symbol, name)


def register_metrics(app: Flask, stores: Stores, hub: Hub) -> None:
    """`/metrics`, and the counting of every request by its route."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(stores, hub))
    ProcessCollector(namespace="gems_web", registry=registry)
    requests = Counter("gems_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
    until = "Until the answer began; a live stream goes on after it."
    seconds = Histogram("gems_http_request_seconds", until, ["route"], registry=registry, buckets=_SECONDS)

    def begin() -> None:
        g.began_s = time.perf_counter()

    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        requests.labels(request.method if request.url_rule else "any", route, str(response.status_code)).inc()
        seconds.labels(route).observe(time.perf_counter() - g.get("began_s", time.perf_counter()))
        return response

    app.before_request(begin)
    app.after_request(count)
    app.add_url_rule("/metrics", "metrics", lambda: Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST))
