"""`GET /metrics` for Prometheus.

What the pipeline does is read from Redis and PostgreSQL at each scrape, so it is the same whichever process answers, and the
scrape answers with `gems_redis_up 0` or `gems_postgres_up 0` while one of them is away. Only requests and live streams are
counted in here: where gunicorn runs several processes (PROMETHEUS_MULTIPROC_DIR, see `web.several`), for all of them together.
"""

import contextlib
import glob
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import psycopg2
import redis
from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)  # fmt: skip
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from common.errors import GemsError
from common.log import get_logger
from common.settings import Settings
from common.streams import EntryId, stream_names
from web.asking import hasty_redis
from web.families import FAMILIES, Families
from web.health import processes, redis_memory, stream_facts, waiting_entries
from web.live import Hub
from web.queries.metrics import counted

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

log = get_logger(__name__)


class StoreCollector(Collector):
    """Asks both stores at each scrape, for a few seconds at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._redis = settings, hasty_redis(settings)
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
        with contextlib.suppress(OSError):  # there is no such directory, or not yet
            disk = shutil.disk_usage(self._settings.data_dir)
            families.set("gems_disk_bytes", disk.total)
            families.set("gems_disk_free_bytes", disk.free)
        yield from families

    def _ask(self, store: str, families: Families, question: Callable[[], Any]) -> Any:
        try:
            answer = question()
        except (psycopg2.Error, redis.RedisError, OSError, GemsError) as exc:
            log.info("metrics without %s: %s", store, str(exc).strip().splitlines()[:1])
            families.set(f"gems_{store}_up", 0)
            return None
        families.set(f"gems_{store}_up", 1)
        return answer

    def _stored(self, families: Families) -> dict[str, Any]:
        found = counted(self._settings)
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
        waiting, dead, oldest_s = found["deliveries"]
        families.set("gems_deliveries", waiting, "waiting")
        families.set("gems_deliveries", dead, "dead")
        families.set("gems_delivery_oldest_seconds", oldest_s or 0.0)
        families.set("gems_rebuilds_waiting", found["marks"])
        families.set("gems_bars_revised", found["revised"])
        return found

    def _told(self, families: Families, positions: dict[int, EntryId]) -> None:
        client = self._redis
        seconds, us = client.time()
        self._memory(client, families)
        for shard, name in enumerate(stream_names(self._settings)):
            position = positions.get(shard)
            self._stream(families, name, shard, stream_facts(client, name, int(seconds) * 1000 + us // 1000, position))
            if position is not None:
                families.set("gems_reader_lag_entries", waiting_entries(client, name, position), name, f"aggregator_{shard}")
        for process in processes(client, int(seconds) + us / 1e6):
            families.set("gems_process_last_word_seconds", process["age_s"], process["name"])
            self._own_counts(families, process["name"], process["facts"])
            if process["name"].startswith("producer"):
                self._producer(families, process["name"], process["facts"], int(seconds) + us / 1e6)

    @staticmethod
    def _memory(client: redis.Redis, families: Families) -> None:
        memory = redis_memory(client)
        families.set("gems_redis_memory_bytes", memory.used)
        families.set("gems_redis_memory_limit_bytes", memory.limit)
        families.set("gems_redis_writable", int(memory.is_writable))

    @staticmethod
    def _own_counts(families: Families, name: str, facts: dict[str, Any]) -> None:
        families.set("gems_commits", facts.get("commits"), name)
        families.set("gems_commit_seconds", facts.get("commit_s"), name)
        if facts.get("outage"):
            families.set("gems_process_outage", 1, name, str(facts["outage"]))
        for fact in ("delivered", "failed", "given_up") if name == "notifier" else ():
            families.set(f"gems_notifier_{fact}", facts.get(fact))

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


class Together(multiprocess.MultiProcessCollector):
    """What all processes of the web have counted, of files in PROMETHEUS_MULTIPROC_DIR."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]

    def collect(self) -> Any:
        """The library's reader breaks on a file that a process is just about to fill."""
        filled = [path for path in glob.glob(os.path.join(self._path, "*.db")) if _is_filled(path)]
        return self.merge(filled, accumulate=True)  # type: ignore[no-untyped-call]


def _is_filled(path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.getsize(path) > 0
    return False


def register_metrics(app: Flask, settings: Settings, hub: Hub) -> None:
    """`/metrics`, and the counting of every request by its route."""
    several = "PROMETHEUS_MULTIPROC_DIR" in os.environ
    registry = CollectorRegistry()
    own = CollectorRegistry() if several else registry
    registry.register(StoreCollector(settings))
    if several:
        registry.register(Together())
    else:
        ProcessCollector(namespace="gems_web", registry=registry)
    requests = Counter("gems_http_requests", "Requests answered.", ["method", "route", "status"], registry=own)
    until = "Until the answer began; a live stream goes on after it."
    seconds = Histogram("gems_http_request_seconds", until, ["route"], registry=own, buckets=_SECONDS)
    sums: dict[str, Any] = {"registry": own, "multiprocess_mode": "livesum"}
    streams = Gauge("gems_sse_clients", "Live streams that are served now.", **sums)
    Gauge("gems_sse_clients_limit", "Live streams served at once at most.", **sums).set(hub.capacity)

    @cache  # of known routes, methods and statuses
    def answered(method: str, route: str, status: int) -> Any:
        return requests.labels(method, route, str(status))

    @cache
    def took(route: str) -> Any:
        return seconds.labels(route)

    def begin() -> None:
        g.began_s = time.perf_counter()

    def count(response: Response) -> Response:
        rule = request.url_rule
        route = rule.rule if rule else "none"
        answered(request.method if rule else "any", route, response.status_code).inc()
        took(route).observe(time.perf_counter() - g.get("began_s", time.perf_counter()))
        streams.set(hub.serving)
        return response

    def scrape() -> Response:
        streams.set(hub.serving)
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    app.before_request(begin)
    app.after_request(count)
    app.add_url_rule("/metrics", "metrics", scrape)
