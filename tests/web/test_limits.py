"""Rate limits: each key and each stranger's address by itself; Redis away costs nobody an answer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.apikeys import add_key
from common.errors import ConfigError
from common.settings import Settings
from web.app import close_app, create_app
from web.limits import UNKNOWN_RATE


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a busy machine lets Redis answer late, it is still Redis that counts."""
    monkeypatch.setattr("web.limits.REDIS_TIMEOUT_S", 60.0)


@contextmanager
def web(settings: Settings, rate: str, **more: object) -> Iterator[FlaskClient]:
    made = create_app(settings.model_copy(update={"api_keys": "on", "rate_limit": rate, **more}))
    yield made.test_client()
    close_app(made)


def ask(client: FlaskClient, key: str | None, path: str = "/api/v3/ping") -> int:
    return client.get(path, headers={"X-API-Key": key} if key else {}).status_code


def test_past_its_rate_a_key_gets_429_with_a_time_and_others_go_on(settings: Settings, database: Connection) -> None:
    one, other = add_key(database, "one", "read"), add_key(database, "other", "read")
    with web(settings, "3/minute") as client:
        paths = ["/api/v3/ping", "/api/v3/time", "/udf/time"]  # counted together
        assert [ask(client, one, path) for path in paths] == [200, 200, 200]
        refused = client.get("/api/v3/ping", headers={"X-API-Key": one})
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        said = "too many requests: this key may make 3 per minute"
        assert refused.get_json() == {"error": said, "status": 429, "code": -1003, "msg": said}
        elsewhere = client.get("/udf/time", headers={"X-API-Key": one})
        assert (elsewhere.status_code, elsewhere.get_json()) == (429, {"error": said, "status": 429})
        assert ask(client, other) == 200
        assert client.get("/healthz").status_code == 200


def test_all_webs_of_one_redis_count_together(settings: Settings, database: Connection) -> None:
    key = add_key(database, "one", "read")
    with web(settings, "2/minute") as first, web(settings, "2/minute") as second:
        assert [ask(first, key), ask(second, key), ask(first, key), ask(second, key)] == [200, 200, 429, 429]


def test_who_guesses_keys_is_stopped_by_address(settings: Settings, database: Connection) -> None:
    key = add_key(database, "one", "read")
    most = int(UNKNOWN_RATE.partition("/")[0])
    with web(settings, "600/minute") as client:
        answers = [client.post("/api/session/", json={"key": f"guess {n}"}).status_code for n in range(most + 1)]
        assert answers == [401] * most + [429]
        assert ask(client, None) == 429
        assert ask(client, key) == 200
        assert client.get("/").status_code == 200


def test_without_redis_requests_go_on_and_are_counted_in_memory(settings: Settings, database: Connection) -> None:
    key = add_key(database, "one", "read")
    with web(settings, "5/day", redis_url="redis://127.0.0.1:1/0") as client:  # in memory each minute of the clock counts anew
        assert [ask(client, key) for _ in range(7)] == [200] * 5 + [429] * 2


def test_redis_that_ends_in_between_makes_no_500(settings: Settings, database: Connection, redis_client: redis.Redis) -> None:
    key = add_key(database, "one", "read")
    with web(settings, "600/minute") as client:
        assert ask(client, key) == 200
        redis_client.config_set("maxmemory", "1")  # full: counting is refused
        try:
            assert [ask(client, key) for _ in range(3)] == [200] * 3
        finally:
            redis_client.config_set("maxmemory", "0")


def test_without_keys_nobody_is_counted(client: FlaskClient, redis_client: redis.Redis) -> None:
    assert {ask(client, None) for _ in range(100)} == {200}
    assert not list(redis_client.scan_iter("*gems*"))


@pytest.mark.parametrize("rate", ["", "fast", "0/minute", "10/fortnight", "-1/second", "10/minute;x"])
def test_a_rate_must_be_one(rate: str) -> None:
    with pytest.raises(ConfigError, match="GEMS_RATE_LIMIT"):
        Settings.from_env({"GEMS_RATE_LIMIT": rate})
