"""The importer as the process that it is: killed, and without its servers for a while, it brings every row in all the same."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from common.codec import split_rows
from common.database import connect_database
from common.settings import Settings
from common.streams import GROUP, connect_redis
from common.tasks import create_task
from ops.migrate import migrate
from producer.pacing import MOST_WAITING, waiting_entries
from tests.servers import private_servers

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
ROWS = 3000


@contextmanager
def importing(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """An importer that is gone at the end."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GEMS_")} | settings.to_env()
    with (settings.data_dir / "importer.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "producer.importer"], cwd=ROOT, env=env, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.02)
    return found


def uploaded(settings: Settings) -> Path:
    folder = settings.data_dir / "uploads"
    folder.mkdir()
    file = folder / "1-x.csv"
    rows = (f"{number},42.5,0.1,1,2,{1704067200000 + number},True,True\n" for number in range(ROWS))
    file.write_text("".join(rows))
    return file


def task_of(connection: Any, file: Path) -> str:
    return create_task(connection, "import", {"path": str(file), "filename": "BTCUSDT-aggTrades-2024-01-01.csv", "symbol": None})


def state(settings: Settings, task_id: str) -> tuple[str, dict[str, Any]]:
    with connect_database(settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT state, counts FROM tasks WHERE task_id = %s", (task_id,))
        found = cursor.fetchone()
    connection.close()
    assert found
    return found


def streamed_ids(client: redis.Redis) -> list[int]:
    rows = [row for _, fields in client.xrange("trades") for row in split_rows(fields[b"rows"].decode())]
    return [int(row.split(",", 2)[1]) for row in rows]


def read_all(client: redis.Redis) -> None:
    """Be the writers."""
    client.xreadgroup(GROUP, "w", {"trades": ">"}, count=100, noack=True)


def test_kill_9_in_the_middle_and_another_goes_on(settings, database, redis_client):
    small = settings.model_copy(update={"batch_rows": 10})
    redis_client.xgroup_create("trades", GROUP, "0", mkstream=True)
    file = uploaded(settings)
    task_id = task_of(database, file)
    with importing(small) as process:
        until(lambda: waiting_entries(redis_client, "trades") > MOST_WAITING, "the bound")
        process.kill()
        process.wait()
    assert state(settings, task_id)[0] == "running" and file.exists()
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE tasks SET seen_at = now() - interval '1 minute'")  # instead of waiting for it
    with importing(small) as process:

        def done() -> bool:
            read_all(redis_client)
            return state(settings, task_id)[0] == "done"

        until(done, "the task")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    assert state(settings, task_id)[1] == {"rows": ROWS, "accepted": ROWS, "rejected": 0, "symbols": ["BTCUSDT"]}
    assert set(streamed_ids(redis_client)) == set(range(ROWS)) and not file.exists()


def test_it_goes_on_after_outages_of_both_servers(tmp_path):
    with private_servers() as servers:
        url = servers.postgres_url("gems_sim")
        migrate(url)
        own = Settings.from_env({}, database_url=url, redis_url=servers.redis_url(), data_dir=tmp_path, batch_rows=10)
        with connect_redis(own) as client:
            client.xgroup_create("trades", GROUP, "0", mkstream=True)
            with connect_database(own) as connection:
                task_id = task_of(connection, uploaded(own))
            connection.close()
            with importing(own) as process:
                until(lambda: waiting_entries(client, "trades") > MOST_WAITING, "the bound")
                for name in ("redis", "postgres"):
                    servers.kill(name)
                time.sleep(1.5)  # long enough for it to have noticed both
                for name in ("redis", "postgres"):
                    servers.start(name, wait=False)
                servers.wait_ready()

                def done() -> bool:
                    try:
                        read_all(client)
                        return state(own, task_id)[0] == "done"
                    except (redis.RedisError, psycopg2.OperationalError):
                        return False

                until(done, "the task")
                assert process.poll() is None
            assert set(streamed_ids(client)) == set(range(ROWS))
