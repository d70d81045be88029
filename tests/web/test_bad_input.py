"""Every field of every body and every parameter of the document, with every kind of bad value.

Never 5xx; a refusal is a sentence that names the field; where it is refused nothing is stored, in PostgreSQL, in the stream or on
disk. Fields and parameters are found in `/api/openapi.json`, so a new route is in this table by itself.
"""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from tests.web.conftest import NOWHERE
from tests.web.openapi import FORM, JSON, Operation, changed, operations
from tests.web.rows import add_bars, add_pair_rows, add_stats, second
from web.app import close_app, create_app

NAN, INF = float("nan"), float("inf")
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
TEXTS = [
    "", "   ", "null", "[]", "0", "-1", "1e400", "9" * 30, "NaN", "inf", "2999-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
    "99999999999999999", "A" * 5_000, "snow☃\u202e", "nul\x00", "١٢", "'; DROP TABLE alerts; --", '=HYPERLINK("http://x")',
    "%s%(x)s{0}", "../../etc/passwd",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, [], {}, [None], {"a": None}, 0, -1, 1.5, 10**400, NAN, INF, 2**63, "\ud800", "A" * 100_000, DEEP, *TEXTS,
]  # fmt: skip
IDS = ["0", "-1", "1.5", "x", "9" * 18, "9" * 19, "9" * 400, "%00", "%F0%9F%92%A9", "1;DROP", "null", "NaN", "%ED%A0%80", "..%2f"]


def _document_operations() -> list[Operation]:
    app = create_app(Settings.from_env({}, database_url=NOWHERE, redis_url="redis://127.0.0.1:1/0"))
    found = operations(app.test_client())
    close_app(app)
    return found


OPERATIONS = _document_operations()


@pytest.fixture
def filled(app: Flask, database: Connection) -> FlaskClient:
    """A web with some rows, so that no table is empty only because nothing was there."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        add_bars(database, symbol, [second(0)], "1m")
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": second(0)}])
    add_stats(database, "BTCUSDT", [(second(0), 0.1)])
    return app.test_client()


class World:
    """What is stored anywhere."""

    def __init__(self, settings: Settings, database: Connection, store: redis.Redis) -> None:
        self._settings, self._database, self._store = settings, database, store
        with database, database.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
            names = [row[0] for row in cursor.fetchall()]
        self._counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM \"{name}\"" for name in sorted(names))  # noqa: S608

        self._seen = -1
        self._rows: dict[str, int] = {}

    def rows(self) -> dict[str, int]:
        """How many rows, entries and files there are, by where they are. Rows are counted where a transaction wrote since."""
        with self._database, self._database.cursor() as cursor:
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            newest = cursor.fetchone()[0]  # type: ignore[index]
            if newest != self._seen:
                cursor.execute(self._counts)
                self._rows, self._seen = dict(cursor.fetchall()), newest
        files = [path for path in self._settings.data_dir.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {**self._rows, "stream trades": self._store.xlen("trades"), "files": len(files)}


@pytest.fixture
def world(settings: Settings, database: Connection, redis_client: redis.Redis) -> World:
    return World(settings, database, redis_client)


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


def _bodies(operation: Operation) -> Iterator[tuple[str, str, Any]]:
    """Field, what was done to it, and the body."""
    for way in operation.fields:
        name = way[-1]
        yield name, "missing", changed(operation.body, way, None, remove=True)
        for value in VALUES:
            yield name, f"{value!r:.60}", changed(operation.body, way, value)


def judge(faults: list[str], told: str, answer: Any, field: str) -> bool:
    """Note what is wrong with an answer; True if it is a refusal."""
    if answer.status_code >= 500:
        faults.append(f"{told}: {answer.status_code} {answer.text[:200]}")
    if not 400 <= answer.status_code < 500:
        return False
    body = answer.get_json(silent=True) or {}
    named = {str(body.get("field", "")), *body.get("errors", {})}
    if "error" not in body or body.get("status") != answer.status_code:
        faults.append(f"{told}: not in our shape: {answer.text[:200]}")
    elif answer.status_code == 400:
        sentence = body["error"]
        leaf = any(one and one in sentence for one in named)
        if not leaf or not (field in sentence or "body" in named or any(field in one for one in named)):
            faults.append(f"{told}: does not name {field}: {sentence[:200]}")
    return True


WITH_BODY = [operation for operation in OPERATIONS if operation.content == JSON]
WITH_QUERY = [each for each in OPERATIONS if any(p["in"] in ("query", "header") for p in each.parameters)]
WITH_PATH = [each for each in OPERATIONS if any(p["in"] == "path" for p in each.parameters)]


def _id(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", WITH_BODY, ids=_id)
def test_no_field_of_a_body_makes_a_fault_or_stores_what_is_refused(
    filled: FlaskClient, world: World, operation: Operation
) -> None:
    faults: list[str] = []
    before, refusals = world.rows(), 0
    for field, done, body in _bodies(operation):
        told = f"{field} {done}"
        answer = filled.open(operation.address(), method=operation.method, data=_json(body), content_type=JSON)
        after = world.rows()
        if judge(faults, told, answer, field):
            refusals += 1
            if after != before:
                faults.append(f"{told}: refused, but stored {set(after.items()) ^ set(before.items())}")
        before = after
    assert not faults, "\n".join(faults[:40])
    assert refusals or not operation.body


@pytest.mark.parametrize("operation", WITH_BODY, ids=_id)
def test_no_body_as_a_whole_makes_a_fault_or_is_stored(filled: FlaskClient, world: World, operation: Operation) -> None:
    before = world.rows()
    bodies = [b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b'{"a":' * 50_000, b"[" * 100_000, b"9" * 5_000, b"{}" * 2,
              b'{"a": NaN}', b"\x00"]  # fmt: skip
    for body in bodies:
        answer = filled.open(operation.address(), method=operation.method, data=body, content_type=JSON)
        assert answer.status_code < 500, (body[:20], answer.text)
        if answer.status_code >= 400:
            assert world.rows() == before, body[:20]
            assert answer.get_json()["error"]
        before = world.rows()
    for kind in ("text/plain", "application/xml", "multipart/form-data", "application/x-www-form-urlencoded"):
        answer = filled.open(operation.address(), method=operation.method, data=b"a=1", content_type=kind)
        assert answer.status_code in (400, 404, 409, 415), kind


@pytest.mark.parametrize("operation", WITH_QUERY, ids=_id)
def test_no_parameter_makes_a_fault_or_stores_what_is_refused(
    filled: FlaskClient, world: World, operation: Operation
) -> None:
    faults: list[str] = []
    before = world.rows()
    for parameter in operation.parameters:
        name, place = parameter["name"], parameter["in"]
        if place == "path":
            continue
        for text in TEXTS:
            query = operation.query() | ({name: text} if place == "query" else {})
            headers = {name: text.encode("utf-8", "replace").decode("latin-1").replace("\r\n", "")} if place == "header" else {}
            data = {"data": _json(operation.body), "content_type": JSON} if operation.content == JSON else {}
            with filled.open(operation.address(), method=operation.method, query_string=query, headers=headers, **data) as answer:
                refused = answer.mimetype != "text/event-stream" and judge(faults, f"{name}={text[:60]!r}", answer, name)
            after = world.rows()
            if refused and after != before:
                faults.append(f"{name}={text[:60]!r}: refused, but stored")
            before = after
    assert not faults, "\n".join(faults[:40])


@pytest.mark.parametrize("operation", WITH_PATH, ids=_id)
def test_no_path_makes_a_fault(filled: FlaskClient, world: World, operation: Operation) -> None:
    before = world.rows()
    for name in (p["name"] for p in operation.parameters if p["in"] == "path"):
        for text in IDS:
            data = {"data": _json(operation.body), "content_type": JSON} if operation.content == JSON else {}
            address = operation.address(**{name: text})
            answer = filled.open(address, method=operation.method, query_string=operation.query(), **data)
            assert answer.status_code < 500, (text, answer.text)
            if answer.status_code >= 400:
                assert answer.get_json()["error"], text
    assert world.rows() == before


def test_no_upload_makes_a_fault_or_stores_what_is_refused(filled: FlaskClient, world: World) -> None:
    (operation,) = [each for each in OPERATIONS if each.content == FORM]
    before = world.rows()
    for text in TEXTS:
        answer = filled.post(operation.path, data={"symbol": text, "file": (io.BytesIO(b"x"), "x.csv")}, content_type=FORM)
        assert answer.status_code < 500, (text, answer.text)
        if answer.status_code >= 400:
            assert "symbol" in answer.get_json()["error"]
            assert world.rows() == before, text
        before = world.rows()
        answer = filled.post(operation.path, data={"file": (io.BytesIO(b"x"), text or "x")}, content_type=FORM)
        assert answer.status_code < 500, (text, answer.text)
        before = world.rows()
    for body in ({}, {"file": "text"}, {"file": (io.BytesIO(b""), "empty.csv")}):
        answer = filled.post(operation.path, data=body, content_type=FORM)
        assert (answer.status_code, answer.get_json()["field"]) == (400, "file")
        assert world.rows() == before


THEIRS = {
    "/api/v3/klines": {"symbol": "BTCUSDT", "interval": "1m"}, "/api/v3/trades": {"symbol": "BTCUSDT"},
    "/api/v3/aggTrades": {"symbol": "BTCUSDT"}, "/api/v3/historicalTrades": {"symbol": "BTCUSDT"},
    "/api/v3/ticker/24hr": {}, "/api/v3/ticker/price": {}, "/api/v3/exchangeInfo": {},
    "/udf/history": {"symbol": "BTCUSDT", "resolution": "1", "from": "0", "to": "1"}, "/udf/symbols": {"symbol": "BTCUSDT"},
    "/udf/search": {"query": "B"},
}  # fmt: skip
THEIR_NAMES = ("symbol", "symbols", "interval", "startTime", "endTime", "timeZone", "limit", "fromId", "type", "from", "to",
               "resolution", "countback", "query", "exchange")  # fmt: skip


@pytest.mark.parametrize("path", THEIRS)
def test_no_parameter_of_routes_in_others_shapes_makes_a_fault(filled: FlaskClient, path: str) -> None:
    faults = []
    for name in THEIR_NAMES:
        for text in [*TEXTS, '["BTCUSDT"', '["\\u0000"]', "[" * 1000]:
            answer = filled.get(path, query_string={**THEIRS[path], name: text})
            if answer.status_code >= 500:
                faults.append(f"{name}={text[:60]!r}: {answer.status_code} {answer.text[:100]}")
    assert not faults, "\n".join(faults[:40])
