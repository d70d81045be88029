"""`/readyz`: ready only if all of it is, in bounded time, with what is not."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis
import urllib3
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from common.streams import append
from tests.servers import FreshDatabases, private_servers
from tests.web.conftest import NOWHERE
from tests.web.killable import KillableWeb
from web import readiness
from web.app import close_app, create_app

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KEEP_S", 0.0)


def not_ready(client: FlaskClient) -> dict[str, str]:
    """Why each check fails; empty: 200."""
    answer = client.get("/readyz")
    told = answer.get_json()
    failing = {name: check["why"] for name, check in told["checks"].items() if not check["ready"]}
    assert answer.status_code == (503 if failing else 200)
    assert told["ready"] is (not failing)
    if failing:
        assert "Retry-After" in answer.headers and told["status"] == 503
        assert all(f"{name}: {why}" in told["error"] for name, why in failing.items())
    return failing


@contextmanager
def web_of(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings)
    yield app.test_client()
    close_app(app)


def test_an_instance_that_nothing_was_sent_to_is_ready(client: FlaskClient) -> None:
    assert not_ready(client) == {}
    assert list(client.get("/readyz").get_json()["checks"]) == ["postgres", "schema", "redis", "writers", "aggregator_0"]


def test_who_is_too_far_behind_is_named(settings: Settings, database: Connection, redis_client: redis.Redis) -> None:
    def since_s() -> float:
        ((first, _),) = redis_client.xrange("trades", count=1)
        return time.time() - int(first.split(b"-")[0]) / 1000

    append(redis_client, "trades", "api", "", 0)
    with web_of(settings.model_copy(update={"ready_lag_s": 0.05})) as client:
        while since_s() < 0.1:
            time.sleep(0.01)
        failing = not_ready(client)
        assert failing["aggregator_0"] == "has no checkpoint yet, and the stream has entries"
        assert "s behind, more than 0.05 s" in failing["writers"]
        redis_client.xgroup_create("trades", "writers", "0")
        redis_client.xreadgroup("writers", "1", {"trades": ">"})  # taken and not committed is behind, too
        assert set(not_ready(client)) == {"writers", "aggregator_0"}
        ((newest, _),) = redis_client.xrevrange("trades", count=1)
        redis_client.xack("trades", "writers", newest)
        assert set(not_ready(client)) == {"aggregator_0"}
        ms, seq = newest.decode().split("-")
        with database, database.cursor() as cursor:
            cursor.execute("INSERT INTO checkpoints VALUES (0, 1, %s, %s, '', '{}', '', '', 11, 4)", (ms, seq))
        assert not_ready(client) == {}


def test_tables_of_another_version_are_not_ready(client: FlaskClient, database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '0001'")
    assert set(not_ready(client)) == {"schema"}
    assert "are of version 0001, this program needs" in not_ready(client)["schema"]
    with database, database.cursor() as cursor:
        cursor.execute("DROP TABLE alembic_version")
    assert "are not made" in not_ready(client)["schema"]


def test_what_is_away_is_named(storeless: FlaskClient, settings: Settings) -> None:
    assert set(not_ready(storeless)) == {"schema", "postgres", "redis", "writers", "aggregator_0"}
    assert not_ready(storeless)["redis"] == "does not answer (ConnectionError)"  # neither where it is, nor who asks
    with web_of(settings.model_copy(update={"database_url": NOWHERE})) as client:
        assert set(not_ready(client)) == {"schema", "postgres", "aggregator_0"}
        assert not_ready(client)["postgres"] == "does not answer (OperationalError)"


def test_a_redis_that_takes_nothing_is_not_ready(client: FlaskClient, redis_client: redis.Redis) -> None:
    limit = str(redis_client.config_get("maxmemory")["maxmemory"])
    redis_client.config_set("maxmemory", "1")
    try:
        assert "full" in not_ready(client)["redis"]
    finally:
        redis_client.config_set("maxmemory", limit)
    assert not_ready(client) == {}


def test_many_probes_cost_one_look(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KEEP_S", 3600.0)
    looks = []
    look: Callable[[readiness.Readiness], dict[str, readiness.Check]] = readiness.Readiness._look
    monkeypatch.setattr(readiness.Readiness, "_look", lambda self: looks.append(1) or look(self))
    for _ in range(5):
        assert app.test_client().get("/readyz").status_code == 200
    assert len(looks) == 1


@pytest.mark.process
def test_a_server_that_hangs_is_told_of_in_bounded_time() -> None:
    """Stopped processes keep their connections open and say nothing: the worst way to be away."""
    with private_servers() as servers:
        databases = FreshDatabases(servers)
        with databases.one() as url:
            settings = Settings.from_env({}, database_url=url, redis_url=servers.redis_url(), data_dir=servers.data_dir)
            with KillableWeb(settings) as web:
                assert ask(web, "/readyz")[0] == 200
                for name, metric in (("postgres", "gems_postgres_up"), ("redis", "gems_redis_up")):
                    with stopped(servers.processes[name].pid):
                        told = json.loads(until(web, "/readyz", 503))
                        assert not told["checks"][name]["ready"]
                        status, text = ask(web, "/metrics")
                        assert status == 200 and f"{metric} 0.0" in text
                    until(web, "/readyz", 200)
        databases.close()


def ask(web: KillableWeb, path: str) -> tuple[int, str]:
    """Fails where an answer takes longer than many times the deadline."""
    answer = urllib3.request("GET", f"{web.url}{path}", timeout=60, retries=False)
    return answer.status, answer.data.decode()


def until(web: KillableWeb, path: str, expected: int) -> str:
    """Ask until the status is as expected."""
    until_s = time.monotonic() + 60
    while (answer := ask(web, path))[0] != expected:
        assert time.monotonic() < until_s, answer
    return answer[1]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP of a process and all its children; they go on at the end."""
    parent = psutil.Process(pid)
    family = [parent, *parent.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            process.send_signal(signal.SIGCONT)
