"""The same rows by a bare loop of psycopg2: one connection, one request after the other, no HTTP and no JSON."""

import time
from collections.abc import Callable
from typing import Any

from bench.cpu import CpuMeter
from bench.peer import fastapi_reads
from bench.requesters import Asked, figures
from common.trades import to_us
from ops.embedded import PrivateServers
from tests.pipeline import Pipeline


def looped(pipeline: Pipeline, servers: PrivateServers, limit: int, seconds: float) -> dict[str, Any]:
    """One connection, one request after the other: rows as psycopg2 gives them, no HTTP and no JSON."""
    pipeline.database.autocommit = True
    found = {name: _loop(ask, servers, limit, seconds) for name, ask in _statements(pipeline, limit).items()}
    pipeline.database.autocommit = False
    return found


def _statements(pipeline: Pipeline, limit: int) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """The peer's own statements, with psycopg2's parameters."""
    bars, window, ticks, stats = (
        statement.replace("$1", "%(symbol)s").replace("$2", "%(second)s").replace("$3", "%(limit)s")
        for statement in (fastapi_reads.BARS, fastapi_reads.WINDOW, fastapi_reads.TICKS, fastapi_reads.STATS)
    )
    named = {"symbol": "SYM0USDT", "limit": limit + 1}

    def fetched(statement: str, second: Any) -> list[dict[str, Any]]:
        with pipeline.database.cursor() as cursor:
            cursor.execute(statement, {**named, "second": second})
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def newest_ticks() -> list[dict[str, Any]]:
        return fetched(ticks, fetched(window, limit + 1)[0]["min"])

    return {"bars": lambda: fetched(bars, "1s"), "ticks": newest_ticks, "stats": lambda: fetched(stats, None)}


def _loop(ask: Callable[[], list[dict[str, Any]]], servers: PrivateServers, limit: int, seconds: float) -> dict[str, Any]:
    rows = ask()
    meter = CpuMeter({"postgres": servers.processes["postgres"].pid})
    took_ms, began_s, began_cpu_s = list[float](), time.monotonic(), time.process_time()
    while (asked_s := time.monotonic()) < began_s + seconds:
        rows = ask()
        took_ms.append((time.monotonic() - asked_s) * 1000)
    asked = Asked(took_ms, time.monotonic() - began_s, 0.0, 0)
    told = figures(asked, {"loop": time.process_time() - began_cpu_s, **meter.used_s()})
    told.pop("body_bytes"), told.pop("clients_cores")
    plain = [{**row, "timestamp": to_us(row["timestamp"])} for row in rows[:limit]] if "timestamp" in rows[0] else rows[0]
    return {**told, "rows": plain}
