"""Fixtures for all: `settings` with a fresh database and an empty Redis, `database` and `redis_client` on them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import redis
from psycopg2.extensions import connection as Connection

from common.database import connect_database
from common.settings import Settings
from common.streams import connect_redis
from ops.embedded import PrivateServers
from ops.servers import instance
from tests.servers import FreshDatabases, private_servers

if TYPE_CHECKING:
    from tests.pieces import LongestFirst

#: A busy machine is no failure.
hypothesis.settings.register_profile("steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("steady")
for _name in [name for name in os.environ if name.startswith("GEMS_")]:
    del os.environ[_name]  # a developer's own settings must not reach a test
#: None of those that the instances under test take for their own servers, before the ports that they are given are listened on.
_ports = range(instance._PORTS.start - 8_000, instance._PORTS.start)
_share = len(_ports) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_first = _share * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
#: Of this worker alone: where a test has killed a server, no other may take its port before it is back.
instance._PORTS = _ports[_first : _first + _share]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LongestFirst | None":
    """What `--dist loadfile`, as `./gems test` asks for, means here."""
    from tests.pieces import LongestFirst

    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def servers() -> Iterator[PrivateServers]:
    """The session's PostgreSQL and Redis. A test that kills servers takes `tests.servers.private_servers()` instead."""
    with private_servers() as started:
        yield started


@pytest.fixture(scope="session")
def fresh_databases(servers: PrivateServers) -> Iterator[FreshDatabases]:
    """Where fresh, migrated databases come from."""
    databases = FreshDatabases(servers)
    yield databases
    databases.close()


@pytest.fixture
def database_url(fresh_databases: FreshDatabases) -> Iterator[str]:
    """A database of this test's own: all tables, no rows."""
    with fresh_databases.one() as url:
        yield url


@pytest.fixture
def redis_url(servers: PrivateServers) -> str:
    """The session's Redis, emptied."""
    url = servers.redis_url()
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for a service under test; change some with `settings.model_copy(update={...})`."""
    return Settings.from_env({}, database_url=database_url, redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Connection]:
    """An open session on the test's database."""
    connection = connect_database(settings, "test")
    yield connection
    connection.close()


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[redis.Redis]:
    """A client of the test's Redis that answers bytes."""
    with connect_redis(settings) as client:
        yield client
