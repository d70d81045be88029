"""`/metrics` over real processes: what writers and aggregator tell of themselves; several workers of gunicorn count together."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import urllib3
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from common.streams import append
from tests.pipeline import Pipeline, a_pipeline
from tests.web.killable import KillableWeb
from tests.web.streams import Reader
from tests.web.test_metrics import Samples, scrape, value

ROWS = "BTCUSDT,{n},2026-11-23T07:00:00.123456Z,43000.12,0.0123,b,\n"
ASKED, WORKERS = 60, 3
pytestmark = [pytest.mark.process, pytest.mark.usefixtures("patient")]


def test_commits_are_timed_and_a_database_that_takes_nothing_is_named(
    client: FlaskClient, settings: Settings, redis_client: redis.Redis, database: Connection
) -> None:
    name = settings.database_url.rpartition("/")[2]
    with a_pipeline(settings, redis_client, database, "writer_0", "aggregator_0", "notifier") as pipeline:
        append(redis_client, "trades", "binance.trade", ROWS.format(n=1), 1)
        pipeline.wait(lambda: stored(pipeline) == 1, 60, "a tick")
        pipeline.wait(lambda: ("gems_notifier_delivered_total", frozenset()) in scrape(client), 60, "word of the notifier")
        for process in ("writer_0", "aggregator_0"):
            pipeline.wait(lambda process=process: commits(scrape(client), process) > 0, 60, f"commit of {process}")
            assert 0 < value(scrape(client), "gems_commit_seconds_total", process=process) < 60
        with database.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^gems w'")
        database.commit()
        append(redis_client, "trades", "binance.trade", ROWS.format(n=2), 1)
        refused = ("gems_process_outage", frozenset({"process": "writer_0", "reason": "ReadOnlySqlTransaction"}.items()))
        pipeline.wait(lambda: refused in scrape(client), 60, "word of the outage")
        with database.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            database.commit()
            cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^gems w'")
        database.commit()
        pipeline.wait(lambda: not [1 for metric, _ in scrape(client) if metric == "gems_process_outage"], 60, "its end")
        pipeline.wait(lambda: stored(pipeline) == 2, 60, "the second tick")


def stored(pipeline: Pipeline) -> int:
    return int(pipeline.scalar("SELECT count(*) FROM raw_ticks"))


def commits(samples: Samples, process: str) -> float:
    return samples.get(("gems_commits_total", frozenset({("process", process)})), 0.0)


def test_several_workers_count_together(settings: Settings) -> None:
    with KillableWeb(settings, "--workers", str(WORKERS)) as web:
        readers = [Reader(web.port, "?topics=alerts") for _ in range(WORKERS * 2)]
        with ThreadPoolExecutor(8) as many:
            answers = list(many.map(lambda _: fresh(f"{web.url}/api/ingestion/stats/").status, range(ASKED)))
        assert set(answers) == {200}
        for _ in range(WORKERS * 4):  # whichever answers
            found = look(web)
            assert found["gems_http_requests_total", of_stats()] == ASKED
            assert found["gems_http_request_seconds_count", frozenset({("route", "/api/ingestion/stats/")})] == ASKED
            assert found["gems_sse_clients", frozenset()] == len(readers)
            assert found["gems_postgres_up", frozenset()] == 1
        for reader in readers:
            reader.close()
        until_s = time.monotonic() + 60
        while look(web)["gems_sse_clients", frozenset()]:
            assert time.monotonic() < until_s, "places are not given back"
            time.sleep(0.1)


def of_stats() -> frozenset[tuple[str, str]]:
    return frozenset({("method", "GET"), ("route", "/api/ingestion/stats/"), ("status", "200")})


def fresh(url: str) -> urllib3.BaseHTTPResponse:
    """On a connection of its own, so that any worker may take it."""
    return urllib3.request("GET", url, headers={"Connection": "close"})


def look(web: KillableWeb) -> Samples:
    families = text_string_to_metric_families(fresh(f"{web.url}/metrics").data.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
