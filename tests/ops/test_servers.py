"""The embedded servers: fresh for each test, back after kill -9, and never two on one folder."""

import subprocess
import sys
import time
from contextlib import closing

import psycopg2
import pytest
import redis
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg2.extensions import connection as Connection

from common.database import SCHEMA_REVISION
from common.errors import ConfigError
from common.settings import Settings
from ops.migrate import MIGRATIONS, migrate
from ops.servers import instance
from ops.servers.instance import free_port, instance_urls, open_instance, read_instance
from ops.servers.postgres import check_version
from ops.servers.private import ROOT, PrivateServers
from tests.servers import private_servers


def test_every_test_has_empty_tables_and_an_empty_redis(database: Connection, redis_client: redis.Redis) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM raw_ticks")
        assert cursor.fetchone() == (0,)
    assert redis_client.dbsize() == 0


def test_migrating_twice_changes_nothing(settings: Settings) -> None:
    migrate(settings.database_url)
    migrate(settings.database_url)


def test_tables_of_a_newer_version_are_refused_with_a_sentence(settings: Settings, database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="perhaps a newer GEMS"):
        migrate(settings.database_url)


def test_the_newest_migration_is_what_the_services_wait_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_a_database_that_is_missing_is_made(servers: PrivateServers) -> None:
    url = servers.postgres_url("odd name")
    migrate(url.replace("odd name", "odd%20name"))
    with closing(psycopg2.connect(url.replace("odd name", "odd%20name"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == ("odd name",)


@pytest.mark.process
def test_servers_come_back_with_their_rows_after_kill_9() -> None:
    with private_servers() as servers:
        with psycopg2.connect(servers.postgres_url()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        connection.close()
        client = redis.Redis.from_url(servers.redis_url())
        client.xadd("trades", {"n": 1})
        for name in ("postgres", "redis"):
            servers.kill(name)
            servers.start(name)
        connection = psycopg2.connect(servers.postgres_url())
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kept")
            assert cursor.fetchone() == (1000,)
        connection.close()
        assert client.xlen("trades") == 1
        client.close()


@pytest.mark.process
def test_servers_end_with_the_process_that_started_them() -> None:
    program = (
        "import sys, pathlib, time; from ops.embedded import PrivateServers\n"
        "servers = PrivateServers(pathlib.Path(sys.argv[1])).__enter__(); print('ready', flush=True); time.sleep(60)"
    )
    with private_servers() as donor:
        folder = donor.data_dir / "inner"
        folder.mkdir()
        parent = subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=ROOT, stdout=subprocess.PIPE)
        assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
        url = open_instance(folder).redis_url(0)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        with pytest.raises(redis.ConnectionError):
            _ping_until_it_fails(url)


def test_a_data_directory_of_another_postgres_is_refused_with_a_sentence(tmp_path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres/PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigError, match="was made by PostgreSQL 15, this one is 18"):
        check_version(tmp_path)


def test_an_instance_keeps_its_ports_and_passwords(tmp_path) -> None:
    first = open_instance(tmp_path)
    assert open_instance(tmp_path) == first == read_instance(tmp_path)
    assert (tmp_path / "instance.json").stat().st_mode & 0o777 == 0o600


def test_a_port_is_given_once_though_nobody_listens_on_it_yet(monkeypatch) -> None:
    monkeypatch.setattr(instance, "_PORTS", instance._PORTS[:200])
    assert len({free_port() for _ in range(60)}) == 60


def test_the_feed_picks_the_database_and_the_number(tmp_path) -> None:
    sim = instance_urls(Settings.from_env({}, data_dir=tmp_path))
    binance = instance_urls(Settings.from_env({}, data_dir=tmp_path, feed="binance"))
    assert [url.rpartition("/")[2] for url in (*sim, *binance)] == ["gems_sim", "0", "gems_binance", "1"]


def test_own_servers_come_before_embedded_ones(tmp_path) -> None:
    own = Settings.from_env({}, data_dir=tmp_path, database_url="postgresql://me@db/ticks", redis_url="redis://cache/3")
    assert instance_urls(own) == ("postgresql://me@db/ticks", "redis://cache/3")
    assert not (tmp_path / "instance.json").exists()


def _ping_until_it_fails(url: str) -> None:
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(url) as client:
        while time.monotonic() < deadline:
            client.ping()
            time.sleep(0.05)
