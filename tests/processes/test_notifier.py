"""The notifier as a process: killed at any moment it delivers all the same; at rest it is small."""

import random
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
import redis
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from tests.notifier.house import add_receiver, event, queue, rows, until
from tests.notifier.receiving import Call, Reply, a_server
from tests.pipeline import ROOT, Pipeline

pytestmark = [pytest.mark.process, pytest.mark.timeout(200)]
EVENTS = 500


def test_killed_again_and_again_it_delivers_every_event_with_its_id(
    settings: Settings, redis_client: redis.Redis, database: Connection
) -> None:
    """Kills come at random moments, the first while all 500 wait, with answers under way and some receivers failing."""
    rng = random.Random(20_261_124)
    allowed = settings.model_copy(update={"notify_private": True})
    pipeline = Pipeline(allowed, redis_client, database)
    refused = Counter[str]()

    def reply(call: Call) -> Reply:
        if rng.random() < 0.01:
            refused[call.path] += 1
            return Reply(503)
        return Reply(wait_s=0.002)

    with a_server() as server:
        server.reply = reply
        paths = ("/a", "/b")
        for path in paths:
            add_receiver(database, path, server.url(path))
        queue(database, *(event(number) for number in range(1, EVENTS + 1)))
        kills = 0
        pipeline.start("notifier")
        try:
            while _waiting(database):
                before = len(server.calls)
                until(lambda n=before: len(server.calls) > n + rng.randrange(5, 60) or not _waiting(database), "deliveries", 60)
                if kills < 12:
                    pipeline.kill("notifier")
                    pipeline.start("notifier")
                    kills += 1
        finally:
            pipeline.stop()
        calls = list(server.calls)
    assert kills >= 8
    bodies: dict[str, set[bytes]] = {}
    for call in calls:
        bodies.setdefault(call.event_key, set()).add(call.body)
    assert {len(found) for found in bodies.values()} == {1}  # the same id is the same event, always
    for path in paths:
        keys = [call.event_key for call in calls if call.path == path]
        assert set(keys) == {str(number) for number in range(1, EVENTS + 1)}
        firsts = list(dict.fromkeys(keys))
        assert firsts == sorted(firsts, key=int)  # whatever came twice, it came first in order
        assert len(keys) <= EVENTS + refused[path] + kills  # a kill repeats at most the one under way
    assert rows(database, "SELECT DISTINCT state FROM alert_deliveries") == [("delivered",)]


def _waiting(database: Connection) -> int:
    return int(rows(database, "SELECT count(*) FROM alert_deliveries WHERE state = 'waiting'")[0][0])


def test_after_a_kill_the_next_one_need_not_wait_for_a_lease(
    settings: Settings, redis_client: redis.Redis, database: Connection
) -> None:
    pipeline = Pipeline(settings.model_copy(update={"notify_private": True}), redis_client, database)
    with a_server() as server:
        server.reply = lambda call: Reply(wait_s=30) if len(server.calls) == 1 else Reply()
        add_receiver(database, "hook", server.url())
        queue(database, event(1))
        pipeline.start("notifier")
        until(lambda: server.calls, "first attempt", 60)
        pipeline.kill("notifier")
        began_s = time.monotonic()
        pipeline.start("notifier")
        until(lambda: not _waiting(database), "delivery", 60)
        assert time.monotonic() - began_s < 20  # keepalives of TCP take 25 s, the answer 30 s
        pipeline.stop()
        assert server.keys() == ["1", "1"]


def test_it_goes_on_after_postgres_cut_it_off_and_without_redis(
    settings: Settings, redis_client: redis.Redis, database: Connection
) -> None:
    nowhere = settings.model_copy(update={"notify_private": True, "redis_url": "redis://127.0.0.1:1/0"})
    pipeline = Pipeline(nowhere, redis_client, database)
    with a_server() as server:
        add_receiver(database, "hook", server.url())
        pipeline.start("notifier")
        for number in range(1, 4):
            queue(database, event(number))
            until(lambda: not _waiting(database), "delivery", 60)
            rows(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gems notifier'")
        pipeline.stop()
        assert server.keys() == ["1", "2", "3"]


def test_at_rest_it_is_small_tells_of_itself_and_stops_at_once(
    settings: Settings, redis_client: redis.Redis, database: Connection
) -> None:
    add_receiver(database, "dead", "http://127.0.0.1:9/")
    queue(database, event(1), event(2))
    pipeline = Pipeline(settings, redis_client, database)
    pipeline.start("notifier")
    process = psutil.Process(pipeline.processes["notifier"].pid)
    told = until(lambda: _told(redis_client, "dead") == 2 and redis_client.hgetall("health:notifier"), "word of the dead", 60)
    assert {b"delivered", b"failed", b"given_up", b"waiting", b"dead", b"oldest_waiting_s", b"in_flight", b"at"} == set(told)
    before, began_s = process.cpu_times(), time.monotonic()
    time.sleep(3.0)
    after, share = process.cpu_times(), time.monotonic() - began_s
    assert (after.user + after.system - before.user - before.system) / share < 0.03
    assert process.memory_info().rss < 80 << 20
    began_s = time.monotonic()
    pipeline.stop()
    assert time.monotonic() - began_s < 8  # there is nothing on its way that it could wait for


def _told(client: redis.Redis, name: str) -> int:
    return int(client.hget("health:notifier", name) or 0)


def test_it_imports_no_numbers() -> None:
    heavy = "{'numpy', 'pandas', 'statsmodels', 'apprise'}"
    code = f"import sys, aggregator.notifier.service; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
