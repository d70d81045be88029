"""What holds for every route: one error shape, headers, both spellings of a path, outages, the API's document."""

from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.errors import ConfigError
from common.settings import Settings
from common.streams import append
from tests.web.conftest import NOWHERE
from tests.web.rows import add_bars, second
from web.app import close_app, create_app

CONTRACT = [
    ("post", "/api/ingestion/ingest/"),
    ("post", "/api/ingestion/upload/"),
    ("post", "/api/ingestion/process-bars/"),
    ("get", "/api/ingestion/ticks/"),
    ("get", "/api/ingestion/bars/"),
    ("get", "/api/ingestion/stats/"),
    ("post", "/api/analytics/compute-spread/"),
    ("post", "/api/analytics/compute-stats/"),
    ("get", "/api/analytics/spread/"),
    ("get", "/api/analytics/stats/"),
    ("post", "/api/analytics/alerts/create/"),
    ("get", "/api/analytics/alerts/"),
    ("delete", "/api/analytics/alerts/1/delete/"),
    ("get", "/api/tasks/1/"),
    ("get", "/api/health/"),
]


@pytest.mark.parametrize(("method", "path"), CONTRACT)
def test_a_path_works_with_and_without_its_last_slash(storeless: FlaskClient, method: str, path: str) -> None:
    """The same answer, with no redirect, which would lose a body."""
    with_it, without = storeless.open(path, method=method), storeless.open(path[:-1], method=method)
    assert with_it.status_code == without.status_code
    assert with_it.status_code not in (301, 302, 307, 308, 405, 500)
    assert with_it.mimetype == "application/json"


def test_every_route_is_documented_with_a_summary(storeless: FlaskClient) -> None:
    document = storeless.get("/api/openapi.json").get_json()
    assert document["openapi"] == "3.0.3"
    for method, path in CONTRACT:
        template = path.replace("alerts/1/", "alerts/{alert_id}/").replace("tasks/1/", "tasks/{task_id}/")
        assert document["paths"][template][method]["summary"]
    body = document["paths"]["/api/ingestion/ingest/"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/IngestBody"}
    assert "get" in document["paths"]["/api/stream"]


def test_a_route_can_be_tried_on_its_page_as_it_stands(storeless: FlaskClient) -> None:
    document = storeless.get("/api/openapi.json").get_json()
    assert "next_cursor" in document["info"]["description"]
    asked = [
        (path, given)
        for path, operations in document["paths"].items()
        for given in operations.get("get", {}).get("parameters", [])
        if given["in"] == "query" and given["name"] in ("symbol", "symbol1", "symbol2", "symbol_pair", "timeframe")
    ]
    assert len(asked) > 15
    assert [(path, given["name"]) for path, given in asked if not given.get("description")] == []
    needed = [(path, given) for path, given in asked if given.get("required")]
    assert needed and [(path, given["name"]) for path, given in needed if "example" not in str(given)] == []


def test_the_documents_page_asks_no_other_host(storeless: FlaskClient) -> None:
    page = storeless.get("/api/docs")
    assert page.mimetype == "text/html"
    assert b"http" not in page.data
    for path in ("/api/docs/start.js", "/api/docs/files/swagger-ui-bundle.js", "/api/docs/files/swagger-ui.css"):
        assert storeless.get(path).status_code == 200
    assert storeless.get("/api/docs/files/__init__.py").status_code == 404


def test_charts_come_from_the_installed_package_and_may_be_cached(storeless: FlaskClient) -> None:
    response = storeless.get("/assets/lightweight-charts.js")
    assert response.status_code == 200
    assert "javascript" in response.mimetype
    assert "max-age=86400" in response.headers["Cache-Control"]
    assert storeless.get("/assets/lightweight-charts.js", headers={"If-None-Match": response.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("get", "/nothing", 404), ("put", "/api/ingestion/bars/", 405), ("get", "/api/ingestion/ingest/", 405)],
)
def test_errors_of_the_framework_have_the_one_shape(storeless: FlaskClient, method: str, path: str, status: int) -> None:
    response = storeless.open(path, method=method)
    body = response.get_json()
    assert (response.status_code, body["status"]) == (status, status)
    assert path in body["error"]
    assert ("Allow" in response.headers) == (status == 405)


def test_a_bug_shows_no_trace(app: Flask) -> None:
    def broken() -> str:
        raise RuntimeError("secret")

    app.add_url_rule("/broken", view_func=broken)
    response = app.test_client().get("/broken")
    assert response.status_code == 500
    assert response.get_json() == {"error": "something went wrong here; the log of the web says what", "status": 500}


def test_every_answer_has_the_security_headers(storeless: FlaskClient) -> None:
    for path in ("/healthz", "/nothing", "/api/docs/", "/api/ingestion/bars/"):
        headers = storeless.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")
    assert storeless.get("/api/ingestion/bars/").headers["Cache-Control"] == "no-store"


def test_a_page_of_another_origin_may_not_post(storeless: FlaskClient) -> None:
    path = "/api/analytics/alerts/create/"
    assert storeless.post(path, json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert storeless.post(path, json={}, headers={"Origin": "http://localhost"}).status_code == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", "::"])
def test_a_host_open_to_others_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="GEMS_HOST"):
        Settings.from_env({"GEMS_HOST": host})


def test_a_store_must_be_named() -> None:
    with pytest.raises(ConfigError, match="GEMS_DATABASE_URL"):
        create_app(Settings.from_env({}, redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(ConfigError, match="GEMS_REDIS_URL"):
        create_app(Settings.from_env({}, database_url=NOWHERE))


TICKS = {"ticks": [{"symbol": "BTCUSDT", "ts": "2026-11-23T07:00:00Z", "price": 1, "size": 1}]}
NEEDS_POSTGRES: list[tuple[str, str, Any]] = [
    ("get", "/api/ingestion/ticks/?symbol=BTCUSDT", None),
    ("get", "/api/ingestion/bars/?symbol=BTCUSDT", None),
    ("get", "/api/ingestion/stats/", None),
    ("get", "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT", None),
    ("get", "/api/analytics/stats/?symbol=BTCUSDT", None),
    ("get", "/api/analytics/alerts/", None),
    ("get", "/api/tasks/00000000-0000-0000-0000-000000000000/", None),
    ("get", "/api/health/", None),
    ("delete", "/api/analytics/alerts/1/delete/", None),
    ("post", "/api/ingestion/ingest/", TICKS),
    ("post", "/api/ingestion/process-bars/", {"symbol": "BTCUSDT"}),
    ("post", "/api/analytics/compute-spread/", {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT"}),
    ("post", "/api/analytics/compute-stats/", {"symbol": "BTCUSDT"}),
    (
        "post",
        "/api/analytics/alerts/create/",
        {"alert_type": "zscore_high", "symbol_pair": "BTCUSDT_ETHUSDT", "condition": {"threshold": 2.0}},
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), NEEDS_POSTGRES)
def test_without_postgres_it_is_503_and_a_sentence(only_redis: FlaskClient, method: str, path: str, body: Any) -> None:
    response = only_redis.open(path, method=method, json=body)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "PostgreSQL can not be reached" in response.get_json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("post", "/api/ingestion/ingest/", TICKS), ("get", "/api/stream", None), ("get", "/api/health/", None)],
)
def test_without_redis_it_is_503_and_a_sentence(storeless: FlaskClient, method: str, path: str, body: Any) -> None:
    response = storeless.open(path, method=method, json=body)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "Redis can not be reached" in response.get_json()["error"]
    assert storeless.get("/healthz").data == b"ok\n"


def test_a_session_that_the_server_ended_is_replaced(client: FlaskClient, database: Connection) -> None:
    assert client.get("/api/ingestion/stats/").status_code == 200
    with database, database.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'web'")
        assert cursor.rowcount > 0
    assert client.get("/api/ingestion/stats/").status_code == 200


def test_before_the_first_migration_it_is_503(settings: Settings, database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("DROP TABLE checkpoints")
    app = create_app(settings)
    response = app.test_client().get("/api/ingestion/stats/")
    close_app(app)
    assert (response.status_code, response.get_json()["error"]) == (503, "the tables are not made yet; try again soon")


def test_health_tells_lag_pending_gaps_and_processes(
    client: FlaskClient, database: Connection, redis_client: redis.Redis
) -> None:
    empty = client.get("/api/health/").get_json()
    assert (empty["rate"], empty["ticks"], empty["stream"]["length"], empty["processes"]) == (None, 0, 0, [])
    add_bars(database, "BTCUSDT", [second(0)])
    redis_client.xgroup_create("trades", "writers", "0", mkstream=True)
    for _ in range(3):
        append(redis_client, "trades", "api", "", 0)
    redis_client.xreadgroup("writers", "1", {"trades": ">"}, count=1)
    redis_client.hset(
        "health:producer",
        mapping={"at": "1000.5", "rate": "3.5", "state": "live", "last_trade_us": '{"BTCUSDT": 1999000000000000}'},
    )
    with database, database.cursor() as cursor:
        cursor.execute("INSERT INTO gaps (symbol, first_id, last_id, from_us, to_us) VALUES ('BTCUSDT', 1, 2, 0, 1)")
        cursor.execute("INSERT INTO writer_positions VALUES ('1', 'trades', 1, 0, 40, 0, 2)")
    client.application.extensions["gems.health"]._until_s = 0.0
    told = client.get("/api/health").get_json()
    assert (told["stream"]["length"], told["stream"]["lag_entries"], told["stream"]["pending"]) == (3, 2, 1)
    assert (told["gaps_open"], told["dead_letters"], told["ticks"]) == (1, 2, 40)
    assert told["rate"] > 0
    assert told["last_trade_age_s"] == {"BTCUSDT": 0}  # the producer knows a newer one than the newest bar
    (process,) = told["processes"]
    assert (process["name"], process["facts"]) == (
        "producer",
        {"rate": 3.5, "state": "live", "last_trade_us": {"BTCUSDT": 1999000000000000}},
    )
    assert process["age_s"] > 1000
