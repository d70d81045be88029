"""The importer as the process that it is: killed, and without its servers for a while, it brings every row in all the same."""

import os
import shutil
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
from tests.exchange.running import running_exchange
from tests.pipeline import Pipeline, a_pipeline
from tests.processes.feeding import feed_settings, producing
from tests.servers import private_servers

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
ROWS = 3000
TICKS = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM raw_ticks t"
BARS = """
SELECT count(*), sum(hashtextextended(b::text, 0)) FROM (
    SELECT symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, status, revision FROM processed_bars) b
"""


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


def test_a_file_uploaded_three_times_once_while_live_gives_the_tables_of_one(settings, redis_client, database, tmp_path):
    """The feed plays the very file, so that live trades and imported ones meet in the same bars."""
    file, live = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv", tmp_path / "sim"
    live.mkdir()
    file.write_text("".join(f"{n},42.{n % 7}5,0.{n % 9 + 1},{n},{n},{1704067200000 + n * 20},True,True\n" for n in range(30_000)))
    more = {"symbols": ("BTCUSDT",), "feed_kind": "aggTrade", "history": "0"}
    with (
        running_exchange(live, sim_play=file, sim_speed="60", symbols="BTCUSDT", pairs="") as exchange,
        a_pipeline(settings, redis_client, database, "writer_0", "writer_1", "aggregator_0", "tasks") as pipeline,
        importing(settings),
        once_all_have_told_of_themselves(pipeline),
        producing(feed_settings(settings, exchange, **more)),
    ):
        pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") > 3_000, 60, "live trades")
        assert exchange.get("/sim/state")["symbols"]["BTCUSDT"]["position"] < 25_000  # it is live meanwhile
        upload(pipeline, settings, file)
        pipeline.wait(lambda: exchange.get("/sim/state")["symbols"]["BTCUSDT"]["ended"], 60, "the end of the play")
        tables = settled(pipeline)
        assert pipeline.scalar("SELECT count(*) FROM raw_ticks") == 30_000
        for _ in range(2):
            upload(pipeline, settings, file)
            assert settled(pipeline) == tables
        assert pipeline.scalar("SELECT sum(repeated) FROM writer_positions") >= 80_000


@contextmanager
def once_all_have_told_of_themselves(pipeline: Pipeline) -> Iterator[None]:
    """The play begins with the producer and lasts ten seconds: whoever starts meanwhile would see its end alone."""
    names = [f"health:{name}" for name in (*pipeline.processes, "importer")]
    pipeline.wait(lambda: pipeline.client.exists(*names) == len(names), 60, "word of all")
    yield


def upload(pipeline: Pipeline, settings: Settings, file: Path) -> None:
    copy = settings.data_dir / "uploads" / f"{time.time_ns()}-x.csv"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(file, copy)
    task_id = task_of(pipeline.database, copy)
    pipeline.wait(lambda: state(settings, task_id)[0] == "done", 60, "the import")


def settled(pipeline: Pipeline) -> tuple[Any, ...]:
    """Ticks and bars, revisions included, as one value each."""
    pipeline.settle(90)
    assert pipeline.differences() == []
    return *pipeline.rows(TICKS), *pipeline.rows(BARS)
