"""Keys of the API: who gets in, with which scope, how they are kept, how they end; sessions of browsers."""

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.apikeys import SCOPES, StoredKey, add_key, hashed, list_keys, living_keys, new_key, prefix_of, revoke_key
from common.errors import ConfigError, StoreUnavailable
from common.settings import Settings
from ops.cli import gems
from ops.house import House
from tests.web.conftest import NOWHERE
from tests.web.streams import ROOT, running_web
from web import keyring as keyring_module
from web.access import COOKIE
from web.app import close_app, create_app
from web.keyring import KEEP_S, Keyring
from web.sessions import is_session, own_secret, session_prefix, session_token
from web.stores import Stores


@pytest.fixture
def keyed(settings: Settings, database: Connection) -> Iterator[Flask]:
    """A web that asks for keys."""
    made = create_app(settings.model_copy(update={"api_keys": "on"}))
    yield made
    close_app(made)


@pytest.fixture
def keys(database: Connection) -> dict[str, str]:
    """A key of each scope, by scope."""
    return {scope: add_key(database, f"{scope}er", scope) for scope in SCOPES}


def shown(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def every_route(app: Flask) -> list[tuple[str, str, str]]:
    """Method, endpoint and a path of every route."""
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]*task_id>", "x", rule.rule).replace("<path:filename>", "js/main.js")
        path = re.sub(r"<[^>]*>", "1", path)
        found += [(method, rule.endpoint, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return found


OPEN = {"static", "healthz", "readyz", "dashboard.page", "assets.lightweight_charts", "docs.page", "docs.start", "docs.files",
        "session.SessionResource"}  # fmt: skip


def test_every_route_but_pages_and_healthz_asks_for_a_key(keyed: Flask) -> None:
    client = keyed.test_client()
    seen = set()
    keyed.extensions["gems.limiter"].enabled = False
    for method, endpoint, path in every_route(keyed):
        answer = client.open(path, method=method)
        if endpoint in OPEN:
            assert answer.status_code not in (401, 403), path
            continue
        seen.add(path)
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="GEMS"'
        assert "key is needed" in answer.get_json()["error"]
    assert {"/metrics", "/api/stream", "/api/v3/klines", "/udf/config", "/api/openapi.json"} <= seen
    assert client.get("/nothing/at/all").status_code == 401


ADMIN = [("DELETE", "/api/analytics/alerts/1/delete/"), ("POST", "/api/analytics/alerts/receivers/"),
         ("PATCH", "/api/analytics/alerts/receivers/1/"), ("POST", "/api/analytics/alerts/receivers/1/test/"),
         ("DELETE", "/api/analytics/pairs/BTCUSDT_ETHUSDT/")]  # fmt: skip
WRITE = [("POST", "/api/ingestion/ingest/"), ("POST", "/api/ingestion/upload/"), ("POST", "/api/ingestion/process-bars/"),
         ("POST", "/api/analytics/alerts/create/"), ("POST", "/api/analytics/compute-stats/"),
         ("POST", "/api/analytics/alerts/1/ack/"), ("PATCH", "/api/analytics/alerts/1/")]  # fmt: skip
READ = [("GET", "/api/ingestion/stats/"), ("GET", "/metrics"), ("GET", "/api/v3/ping"), ("GET", "/udf/time"),
        ("GET", "/api/openapi.json"), ("GET", "/api/analytics/alerts/receivers/"), ("GET", "/api/health/")]  # fmt: skip


def test_each_scope_opens_what_it_says_and_403_names_the_one_needed(keyed: Flask, keys: dict[str, str]) -> None:
    client = keyed.test_client()
    for needed, routes in zip(SCOPES, (READ, WRITE, ADMIN), strict=True):
        for method, path in routes:
            for scope, key in keys.items():
                answer = client.open(path, method=method, headers=shown(key))
                allowed = SCOPES.index(scope) >= SCOPES.index(needed)
                assert (answer.status_code == 403) is not allowed, (method, path, scope, answer.text)
                if not allowed:
                    assert f"a key of scope {needed}; the scope of {scope}er is {scope}" in answer.get_json()["error"]


@pytest.mark.parametrize("header", ["X-API-Key", "X-MBX-APIKEY", "x-api-key"])
def test_a_key_may_come_in_a_header_of_its_own(keyed: Flask, keys: dict[str, str], header: str) -> None:
    assert keyed.test_client().get("/api/v3/time", headers={header: keys["read"]}).status_code == 200


def test_no_other_text_opens_anything(keyed: Flask, keys: dict[str, str]) -> None:
    client, key = keyed.test_client(), keys["admin"]
    tried = [key[:-1], key + "A", key.swapcase(), key[:14] + new_key()[14:], new_key(), "", "é" * 57, "gems_"]
    for other in tried:
        answer = client.get("/api/v3/time", headers={"X-API-Key": other.encode().decode("latin-1")})
        assert answer.status_code == 401, other
    assert "unknown or revoked" in client.get("/api/v3/time", headers=shown(new_key())).get_json()["error"]
    assert client.get("/api/v3/time", headers={"Authorization": f"Basic {key}"}).status_code == 401
    assert client.get(f"/api/v3/time?key={key}").status_code == 401


def test_a_revoked_key_opens_nothing_after_a_few_seconds(keyed: Flask, keys: dict[str, str], database: Connection) -> None:
    client, ring = keyed.test_client(), keyed.extensions["gems.keyring"]
    now_s = [1000.0]
    ring._clock_s = lambda: now_s[0]
    assert client.get("/api/v3/time", headers=shown(keys["read"])).status_code == 200
    assert revoke_key(database, "reader") == "reader"
    now_s[0] += KEEP_S
    assert client.get("/api/v3/time", headers=shown(keys["read"])).status_code == 401
    assert client.get("/api/v3/time", headers=shown(keys["write"])).status_code == 200
    assert KEEP_S <= 5


def test_requests_do_not_look_keys_up_one_by_one(keyed: Flask, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted(connection: Connection) -> dict[str, StoredKey]:
        read.append(1)
        return living_keys(connection)

    monkeypatch.setattr(keyring_module, "living_keys", counted)
    keyed.extensions["gems.keyring"]._clock_s = lambda: 1000.0
    for _ in range(20):
        keyed.test_client().get("/api/v3/time", headers=shown(keys["read"]))
        keyed.test_client().get("/api/v3/time", headers=shown(new_key()))
    assert len(read) == 1


def test_only_a_salted_hash_is_stored(keys: dict[str, str], database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("SELECT prefix, salt, hash, api_keys::text FROM api_keys")
        for prefix, salt, stored, text in cursor.fetchall():
            (key,) = [key for key in keys.values() if key.startswith(prefix)]
            assert (len(prefix), bytes(stored)) == (13, hashed(bytes(salt), key))
            assert key[13:] not in text
        cursor.execute("SELECT count(DISTINCT salt) FROM api_keys")
        assert cursor.fetchone() == (3,)


def test_the_last_use_is_written_at_most_once_a_minute(keyed: Flask, keys: dict[str, str], database: Connection) -> None:
    client, ring = keyed.test_client(), keyed.extensions["gems.keyring"]
    now_s = [1000.0]
    ring._clock_s = lambda: now_s[0]

    def used() -> object:
        client.get("/api/v3/time", headers=shown(keys["read"]))
        names, rows = list_keys(database)
        return next(row[names.index("used_at")] for row in rows if row[0] == "reader")

    assert used() is None
    now_s[0] += KEEP_S
    first = used()
    assert first is not None
    now_s[0] += KEEP_S
    assert used() == first
    now_s[0] += 60
    assert used() > first  # type: ignore[operator]


def test_without_postgres_known_keys_go_on_for_a_while_and_unknown_webs_say_503(
    settings: Settings, keys: dict[str, str], redis_url: str
) -> None:
    now_s = [1000.0]
    stores = Stores(settings)
    ring = Keyring(stores, lambda: now_s[0])
    assert ring.find(keys["read"])
    away = Stores(settings.model_copy(update={"database_url": NOWHERE}))
    ring._stores = away
    now_s[0] += 500
    assert ring.find(keys["read"])
    now_s[0] += 200
    with pytest.raises(StoreUnavailable, match="keys can not be looked up"):
        ring.find(keys["read"])
    stores.close()
    away.close()
    app = create_app(Settings.from_env({}, database_url=NOWHERE, redis_url=redis_url, api_keys="on", data_dir=settings.data_dir))
    answer = app.test_client().get("/api/v3/time", headers=shown(keys["read"]))
    close_app(app)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_a_browser_gets_a_cookie_that_no_script_reads_and_no_other_site_sends(keyed: Flask, keys: dict[str, str]) -> None:
    client = keyed.test_client()
    assert client.get("/api/session/").get_json() == {"keys": "on", "name": None, "scope": None}
    answer = client.post("/api/session/", json={"key": keys["write"]})
    assert answer.get_json() == {"keys": "on", "name": "writeer", "scope": "write"}
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    assert keys["write"] not in cookie
    assert client.get("/api/v3/time").status_code == 200
    assert client.delete("/api/analytics/alerts/1/delete/").status_code == 403
    assert client.post("/api/analytics/alerts/1/ack/", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.delete("/api/session/").status_code == 204
    assert client.get("/api/v3/time").status_code == 401
    https = client.post("/api/session/", json={"key": keys["read"]}, base_url="https://localhost")
    assert "Secure" in https.headers["Set-Cookie"]
    assert client.post("/api/session/", json={"key": new_key()}).status_code == 401


def test_the_event_stream_takes_the_cookie(keyed: Flask, keys: dict[str, str]) -> None:
    client = keyed.test_client()
    assert client.get("/api/stream").status_code == 401
    client.post("/api/session/", json={"key": keys["read"]})
    with client.get("/api/stream") as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")


def test_a_session_ends_with_its_time_and_with_its_key_and_can_not_be_made_up(tmp_path: Path) -> None:
    secret, key, salt = own_secret(tmp_path), new_key(), b"s" * 16
    stored = StoredKey(1, "n", "read", key[:13], salt, hashed(salt, key))
    token = session_token(secret, stored, 2000)
    assert session_prefix(token, 1999.0) == stored.prefix
    assert session_prefix(token, 2000.0) is None
    assert is_session(secret, stored, token)
    assert not is_session(b"other", stored, token)
    assert not is_session(secret, stored, token.replace(".2000.", ".9000."))
    assert not is_session(secret, stored._replace(hash=hashed(salt, new_key())), token)
    assert not is_session(secret, stored, "nonsense")
    assert own_secret(tmp_path) == secret
    assert (tmp_path / "session.secret").stat().st_mode & 0o777 == 0o600


def test_a_session_of_a_revoked_key_opens_nothing(keyed: Flask, keys: dict[str, str], database: Connection) -> None:
    client, ring = keyed.test_client(), keyed.extensions["gems.keyring"]
    client.post("/api/session/", json={"key": keys["read"]})
    cookie = client.get_cookie(COOKIE)
    assert cookie
    assert client.get("/api/v3/time").status_code == 200
    revoke_key(database, keys["read"][:13])
    ring._tried_s -= KEEP_S
    assert client.get("/api/v3/time").status_code == 401


def test_without_keys_everything_is_open_and_a_session_is_a_conflict(client: FlaskClient) -> None:
    assert client.get("/api/v3/time").status_code == 200
    assert client.get("/api/session/").get_json() == {"keys": "off", "name": None, "scope": None}
    assert client.post("/api/session/", json={"key": "x"}).status_code == 409


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com"])
def test_a_host_open_to_others_needs_keys(host: str) -> None:
    with pytest.raises(ConfigError, match=r"GEMS_HOST.*GEMS_API_KEYS=on"):
        Settings.from_env({"GEMS_HOST": host})
    assert Settings.from_env({"GEMS_HOST": host, "GEMS_API_KEYS": "on"}).host == host


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200),
    ("evil.example", 403), ("evil.example:8000", 403), ("127.0.0.1.evil.example", 403), ("gems.lan", 200),
])  # fmt: skip
def test_without_keys_only_our_own_names_are_answered(settings: Settings, host: str, status: int) -> None:
    app = create_app(settings.model_copy(update={"allowed_hosts": ("gems.lan",)}))
    assert app.test_client().get("/api/v3/time", headers={"Host": host}).status_code == status
    close_app(app)


def test_keys_are_made_listed_and_revoked_by_hand(settings: Settings, database: Connection) -> None:
    House(settings.data_dir).remember(settings)
    run = CliRunner().invoke
    house = ["--data-dir", str(settings.data_dir)]
    made = run(gems, ["keys", "add", "desk", "--scope", "write", *house], standalone_mode=False)
    key = made.stdout.strip()
    assert prefix_of(key) == key[:13]
    assert living_keys(database)[key[:13]].is_key(key)
    again = run(gems, ["keys", "add", "desk", "--scope", "read", *house], standalone_mode=False)
    assert isinstance(again.exception, ConfigError)
    assert isinstance(run(gems, ["keys", "add", "-x y", "--scope", "read", *house]).exception, SystemExit)
    listed = run(gems, ["keys", "list", *house]).stdout
    assert key[:13] in listed and f"{datetime.now(UTC):%Y-}" in listed, "with its day"
    assert "revoked" in run(gems, ["keys", "revoke", "desk", *house]).stdout
    assert "There are no keys" in run(gems, ["keys", "list", *house]).stdout
    assert key[:13] in run(gems, ["keys", "list", "--all", *house]).stdout
    assert run(gems, ["keys", "revoke", "desk", *house], standalone_mode=False).return_value == 1
    assert run(gems, ["keys", "add", "desk", "--scope", "read", *house]).exit_code == 0
    with pytest.raises(psycopg2.errors.CheckViolation), database, database.cursor() as cursor:
        cursor.execute("INSERT INTO api_keys (name, scope, prefix, salt, hash) VALUES ('a', 'root', 'p', '', '')")


@pytest.mark.process
def test_a_web_with_keys_on_does_not_open_without_an_admin_key(settings: Settings, database: Connection) -> None:
    add_key(database, "reader", "read")
    add_key(database, "gone", "admin")
    revoke_key(database, "gone")
    environ = {**os.environ, **settings.to_env(), "GEMS_API_KEYS": "on", "GEMS_HOST": "0.0.0.0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "web.wsgi:app"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78
    assert "./gems keys add NAME --scope admin" in ended.stderr


@pytest.mark.process
def test_a_stream_ends_within_seconds_of_its_keys_revocation(settings: Settings, database: Connection) -> None:
    add_key(database, "owner", "admin")
    key = add_key(database, "reader", "read")
    with running_web(settings.model_copy(update={"api_keys": "on"})) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/api/stream?topics=bars", headers=shown(key))
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"retry:")
        revoke_key(database, "reader")
        began_s = time.monotonic()
        answer.read()
        assert time.monotonic() - began_s < KEEP_S + 50
        connection.close()
