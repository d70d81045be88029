"""`/metrics`: what the stores know, at each scrape; it answers whatever is away."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extensions import connection as Connection

from common.health import Heartbeat
from common.streams import append
from ops.house import ROOT
from tests.web.rows import add_bars, second
from web.families import FAMILIES
from web.live import Hub
from web.metrics import Together

pytestmark = pytest.mark.usefixtures("patient")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(client: FlaskClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.name.startswith("gems_") and family.documentation for family in families)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def make_facts(database: Connection, client: redis.Redis) -> None:
    client.xgroup_create("trades", "writers", "0", mkstream=True)
    for _ in range(3):
        append(client, "trades", "api", "", 0)
    client.xreadgroup("writers", "1", {"trades": ">"}, count=1)
    newest_us = time.time_ns() // 1000 - 7_000_000
    facts: dict[str, Any] = {"connected": 1, "trades": 70, "spool_bytes": 5, "owed": 9, "clock_ahead_ms": -250}
    Heartbeat(client, "producer").tell({**facts, "last_trade_us": f'{{"BTCUSDT": {newest_us}}}'})
    Heartbeat(client, "producer_2").tell({**facts, "connected": 0})
    with database, database.cursor() as cursor:
        cursor.execute("INSERT INTO gaps (symbol, first_id, last_id, from_us, to_us) VALUES ('BTCUSDT', 1, 20, 0, 1)")
        cursor.execute("INSERT INTO writer_positions VALUES ('worker-0', 'trades', 1, 0, 40, 3, 2)")
        cursor.execute("INSERT INTO checkpoints VALUES (0, 1, 1, 0, '', '{}', '', '', 11, 4)")
        cursor.execute("INSERT INTO dead_letters VALUES (DEFAULT, 'feed', 'x', 0, 's', 'f', 'r', 'p')")
        cursor.execute(
            "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
            " VALUES ('BTCUSDT', 1, 2, 'trades', 0, 0, 'late')"
        )


def test_every_fact_of_the_pipeline_is_a_metric(client: FlaskClient, database: Connection, redis_client: redis.Redis) -> None:
    make_facts(database, redis_client)
    found = scrape(client)
    worker, stream = {"worker": "worker-0", "stream": "trades"}, {"stream": "trades"}
    assert value(found, "gems_ticks_stored_total", **worker) == 40
    assert (value(found, "gems_ticks_repeated_total", **worker), value(found, "gems_rows_refused_total", **worker)) == (3, 2)
    assert (value(found, "gems_bars_closed_total", shard="0"), value(found, "gems_trades_late_total", shard="0")) == (11, 4)
    assert (value(found, "gems_gaps", state="open"), value(found, "gems_gap_trades", state="open")) == (1, 20)
    assert value(found, "gems_gaps", state="lost") == 0
    assert (value(found, "gems_dead_letters", stream="feed"), value(found, "gems_rebuilds_waiting")) == (1, 1)
    assert (value(found, "gems_stream_entries", **stream), value(found, "gems_pending_entries", **stream)) == (3, 1)
    assert 0 <= value(found, "gems_pending_oldest_seconds", **stream) < 30
    assert value(found, "gems_reader_lag_entries", reader="writers", **stream) == 2
    assert value(found, "gems_reader_lag_entries", reader="aggregator_0", **stream) == 3
    assert 0 <= value(found, "gems_reader_lag_seconds", reader="aggregator_0", **stream) < 30
    assert [value(found, "gems_producer_connected", producer=name) for name in ("producer", "producer_2")] == [1, 0]
    assert value(found, "gems_producer_spool_bytes", producer="producer") == 5
    assert value(found, "gems_producer_trades_total", producer="producer") == 70
    assert value(found, "gems_producer_clock_ahead_seconds", producer="producer") == -0.25
    assert 7 <= value(found, "gems_symbol_last_trade_age_seconds", symbol="BTCUSDT", producer="producer") < 37
    assert value(found, "gems_redis_up") == value(found, "gems_postgres_up") == value(found, "gems_redis_writable") == 1


def test_a_revised_bar_is_counted(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [second(0)])
    with database, database.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'bar_revisions'")
        columns = {name for (name,) in cursor.fetchall()} - {"replaced_at"}
        names = ", ".join(sorted(columns))
        cursor.execute(f"INSERT INTO bar_revisions ({names}) SELECT {names} FROM processed_bars")  # noqa: S608
    deadline_s = time.monotonic() + 60
    while value(scrape(client), "gems_bars_revised_total") != 1:  # the server tells its statistics a moment later
        assert time.monotonic() < deadline_s
        with database, database.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")


def test_a_redis_that_takes_nothing_is_not_writable(client: FlaskClient, redis_client: redis.Redis) -> None:
    limit = str(redis_client.config_get("maxmemory")["maxmemory"])
    redis_client.config_set("maxmemory", "1")
    try:
        found = scrape(client)
    finally:
        redis_client.config_set("maxmemory", limit)
    assert (value(found, "gems_redis_up"), value(found, "gems_redis_writable")) == (1, 0)


def test_without_either_store_it_answers(storeless: FlaskClient) -> None:
    found = scrape(storeless)
    assert (value(found, "gems_redis_up"), value(found, "gems_postgres_up")) == (0, 0)
    assert value(found, "gems_sse_clients") == 0
    assert ("gems_ticks_stored_total", frozenset()) not in found


def test_without_postgresql_what_redis_knows_is_told(only_redis: FlaskClient, redis_client: redis.Redis) -> None:
    append(redis_client, "trades", "api", "", 0)
    found = scrape(only_redis)
    assert (value(found, "gems_redis_up"), value(found, "gems_postgres_up")) == (1, 0)
    assert value(found, "gems_stream_entries", stream="trades") == 1


def test_requests_are_counted_by_route_and_status(storeless: FlaskClient) -> None:
    before = scrape(storeless)
    for path in ("/healthz", "/healthz", "/api/ingestion/stats/", "/nothing-1", "/nothing-2"):
        storeless.get(path)
    found = scrape(storeless)

    def rise(route: str, status: str, method: str = "GET") -> float:
        key = "gems_http_requests_total", frozenset({"method": method, "route": route, "status": status}.items())
        return found.get(key, 0.0) - before.get(key, 0.0)

    assert (rise("/healthz", "200"), rise("/api/ingestion/stats/", "503"), rise("none", "404", "any")) == (2, 1, 2)
    assert ("gems_http_request_seconds_count", frozenset({("route", "/healthz")})) in found


def test_live_streams_are_counted(app: Flask, client: FlaskClient) -> None:
    hub: Hub = app.extensions["gems.hub"]
    assert hub.enter()
    assert value(scrape(client), "gems_sse_clients") == 1
    hub.leave()
    assert value(scrape(client), "gems_sse_clients") == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_metric_is_documented(name: str) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert re.search(rf"`{name}(_total)?[`{{]", text)


def test_a_process_that_has_just_opened_its_file_breaks_no_scrape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    counted = MmapedDict(str(tmp_path / "counter_1.db"))  # type: ignore[no-untyped-call]
    counted.write_value(mmap_key("gems_a", "gems_a_total", [], [], "Help."), 2.0, 0.0)  # type: ignore[no-untyped-call]
    (tmp_path / "counter_2.db").touch()
    (metric,) = Together().collect()
    assert [sample.value for sample in metric.samples] == [2.0]
