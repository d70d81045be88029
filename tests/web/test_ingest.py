"""Posting ticks: all or none, by identity, and answered only once Redis has them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from flask import Flask, request
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.codec import decode_rows
from common.judge import Limits, content_id
from common.settings import Settings
from common.trades import Trade
from tests.web.rows import add_source
from web.api import read_json
from web.app import close_app, create_app
from web.errors import Problem
from web.posted import read_posted

URL = "/api/ingestion/ingest/"
TICK = {"symbol": "BTCUSDT", "ts": "2026-11-23T07:00:00.123456Z", "price": 43000.12, "size": "0.0123"}
AT_US = 1795417200123456
TICK_ID = content_id("BTCUSDT", AT_US, "43000.12", "0.0123", 0)

Entries = list[tuple[str, list[Trade]]]


def entries(redis_client: redis.Redis, stream: str = "trades") -> Entries:
    found: Any = redis_client.xrange(stream)
    for _, fields in found:
        assert int(fields[b"n"]) == fields[b"rows"].count(b"\n")
    return [(fields[b"src"].decode(), decode_rows(fields[b"rows"].decode())) for _, fields in found]


def test_a_posted_tick_is_an_entry_and_a_finished_task(client: FlaskClient, redis_client: redis.Redis) -> None:
    response = client.post(URL, json={"ticks": [TICK]})
    body = response.get_json()
    assert (response.status_code, body["status"], body["tick_count"]) == (202, "processing", 1)
    assert entries(redis_client) == [("api", [Trade("BTCUSDT", TICK_ID, AT_US, "43000.12", "0.0123", "", 0)])]
    task = client.get(f"/api/tasks/{body['task_id']}/").get_json()
    assert (task["kind"], task["state"], task["progress"], task["counts"]) == ("ingest", "done", 1, {"ticks": 1})


def test_equal_ticks_of_one_request_are_two_and_a_retry_makes_the_same_ids(
    client: FlaskClient, redis_client: redis.Redis
) -> None:
    for _ in range(2):
        assert client.post(URL[:-1], json={"ticks": [TICK, TICK]}).status_code == 202
    (_, first), (_, again) = entries(redis_client)
    assert first == again
    assert [(trade.trade_id, trade.seq) for trade in first] == [
        (TICK_ID, 0),
        (content_id("BTCUSDT", AT_US, "43000.12", "0.0123", 1), 1),
    ]


@pytest.mark.parametrize("ts", ["2026-11-23T08:00:00.123456+01:00", AT_US, str(AT_US), "1795417200123.456", 1795417200123.456])
def test_a_stamp_may_be_written_in_many_ways(client: FlaskClient, redis_client: redis.Redis, ts: Any) -> None:
    assert client.post(URL, json={"ticks": [{**TICK, "ts": ts}]}).status_code == 202
    ((_, (trade,)),) = entries(redis_client)
    assert trade.event_us == AT_US


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("0.1", "0.1"),
        ("43000.120000000000000000000000000001", "43000.120000000000000000000000000001"),
        ("8.12e-06", "0.00000812"),
        ("1E3", "1000"),
        ('"1.50"', "1.5"),
        ('"8.12e-6"', "0.00000812"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_a_price_never_passes_through_a_float(client: FlaskClient, redis_client: redis.Redis, written: str, stored: str) -> None:
    body = json.dumps({"ticks": [{**TICK, "price": "?"}]}).replace('"?"', written)
    assert client.post(URL, data=body, content_type="application/json").status_code == 202
    ((_, (trade,)),) = entries(redis_client)
    assert trade.price == stored


def test_ids_are_of_the_symbols_source_or_the_named_one(
    client: FlaskClient, database: Connection, redis_client: redis.Redis
) -> None:
    add_source(database, "ETHUSDT", "binance.trade")
    ticks = [{**TICK, "symbol": symbol, "trade_id": 7, "side": "sell"} for symbol in ("BTCUSDT", "ETHUSDT")]
    assert client.post(URL, json={"ticks": [*ticks, TICK]}).status_code == 202
    assert client.post(URL, json={"ticks": [{**TICK, "symbol": "X:Y", "trade_id": "8"}], "source": "x.trade"}).status_code == 202
    assert sorted((src, trade.symbol, trade.trade_id, trade.side) for src, rows in entries(redis_client) for trade in rows) == [
        ("api", "BTCUSDT", TICK_ID, ""),
        ("api.trade", "BTCUSDT", 7, "s"),
        ("binance.trade", "ETHUSDT", 7, "s"),
        ("x.trade", "X:Y", 8, ""),
    ]


def test_ids_of_another_kind_are_refused(client: FlaskClient, database: Connection, redis_client: redis.Redis) -> None:
    add_source(database, "BTCUSDT", "binance.trade")
    response = client.post(URL, json={"ticks": [{**TICK, "trade_id": 1}], "source": "binance.aggTrade"})
    assert (response.status_code, response.get_json()["field"]) == (409, "source")
    assert "binance.trade" in response.get_json()["error"]
    assert entries(redis_client) == []


def test_many_ticks_are_batches_of_the_setting(settings: Settings, redis_client: redis.Redis) -> None:
    app = create_app(settings.model_copy(update={"batch_rows": 10, "shards": 3}))
    symbols = [f"S{n}" for n in range(9)]
    ticks = [{**TICK, "symbol": symbol, "trade_id": n} for n in range(25) for symbol in symbols]
    assert app.test_client().post(URL, json={"ticks": ticks}).get_json()["tick_count"] == 225
    close_app(app)
    by_stream = [entries(redis_client, f"trades{{m{shard}}}") for shard in range(3)]
    assert max(len(rows) for stream in by_stream for _, rows in stream) == 10
    found = [trade for stream in by_stream for _, rows in stream for trade in rows]
    assert sorted((t.symbol, t.trade_id) for t in found) == sorted((s, n) for n in range(25) for s in symbols)
    assert all(
        {t.symbol for _, rows in by_stream[0] for t in rows}.isdisjoint(t.symbol for _, rows in s for t in rows)
        for s in by_stream[1:]
    )


BAD_TICKS: list[tuple[dict[str, Any], str, str]] = [
    ({"price": -1}, "price", "must be a plain positive decimal such as 43000.12, was -1"),
    ({"price": "0.000"}, "price", "must be above 0, was '0.000'"),
    ({"price": "NaN"}, "price", "was 'NaN'"),
    ({"price": "1_000"}, "price", "was '1_000'"),
    ({"price": "٣"}, "price", "must be a positive decimal"),
    ({"price": True}, "price", "was True"),
    ({"price": None}, "price", "is required"),
    ({"price": "1e99"}, "price", "at most 38 digits"),
    ({"price": "9" * 100_000}, "price", "must be a positive decimal"),
    ({"size": []}, "size", "must be a positive decimal"),
    ({"size": "1" * 39}, "size", "at most 38 digits"),
    ({"symbol": "btcusdt"}, "symbol", "upper case"),
    ({"symbol": "B\ud800"}, "symbol", "without halves of characters, was 'B\\ud800'"),
    ({"symbol": 5}, "symbol", "must be text, was 5"),
    ({"ts": "2026-11-23T07:00:00"}, "ts", "ISO 8601 with Z or an offset"),
    ({"ts": "2026-02-30T07:00:00Z"}, "ts", "real moment"),
    ({"ts": 1795417200}, "ts", "is before GEMS_EARLIEST, was 1795417200"),
    ({"ts": "2100-01-01T00:00:00Z"}, "ts", "more than 60 s in the future"),
    ({"ts": {}}, "ts", "ISO 8601"),
    ({"ts": 10**17}, "ts", "future"),
    ({"ts": -1}, "ts", "ISO 8601"),
    ({"side": "hold"}, "side", "must be buy or sell, was 'hold'"),
    ({"trade_id": -1}, "trade_id", "whole number from 0"),
    ({"trade_id": 1.5}, "trade_id", "was 1.5"),
    ({"trade_id": 2**63}, "trade_id", "63 bits"),
]


@pytest.mark.parametrize(("change", "field", "words"), BAD_TICKS)
def test_one_bad_tick_is_named_with_its_value(change: dict[str, Any], field: str, words: str) -> None:
    body = json.dumps({"ticks": [TICK, TICK, TICK, {**TICK, **change}]})
    posted = Flask("web").test_request_context(URL, method="POST", data=body, content_type="application/json")
    with posted, pytest.raises(Problem) as caught:
        read_posted(read_json(request, exact=True), Limits(earliest_us=1_230_768_000_000_000, retention_us=0), AT_US // 1000)
    assert (caught.value.code, caught.value.field) == (400, f"ticks[3].{field}")
    assert caught.value.sentence.startswith(f"ticks[3].{field} ")
    assert words in caught.value.sentence
    assert len(caught.value.sentence) < 300


def test_one_bad_tick_refuses_all(client: FlaskClient, redis_client: redis.Redis) -> None:
    response = client.post(URL, json={"ticks": [TICK, {**TICK, "price": "x"}, {**TICK, "size": 0}]})
    assert response.status_code == 400
    assert response.get_json() == {
        "error": "ticks[1].price must be a positive decimal such as 43000.12, was 'x'; nothing was stored",
        "field": "ticks[1].price",
        "errors": {
            "ticks[1].price": "must be a positive decimal such as 43000.12, was 'x'",
            "ticks[2].size": "must be above 0, was 0",
        },
        "status": 400,
    }
    assert entries(redis_client) == []


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ('{"ticks": []}', 400, "at least one tick"),
        ('{"ticks": {}}', 400, "must be a list"),
        ("{}", 400, "ticks must be a list"),
        ("[]", 400, "must be an object"),
        ("", 400, "not valid JSON"),
        ('{"ticks": [', 400, "not valid JSON"),
        ('{"ticks": [NaN]}', 400, "NaN is not a JSON number"),
        ('{"ticks": [5]}', 400, "ticks[0] must be an object"),
        ('{"ticks": ' + "[" * 200_000, 400, "nested too deeply"),
        ('{"ticks": [{}]}', 400, "ticks[0].symbol is required"),
        (json.dumps({"ticks": [TICK], "source": "api"}), 400, "source must name"),
        ('{"ticks": [' + "1," * 100_000 + "1]}", 413, "at most 100,000"),
        ('{"ticks": "' + "x" * (16 << 20) + '"}', 413, "larger than this route takes"),
    ],
)
def test_bad_bodies(only_redis: FlaskClient, redis_client: redis.Redis, text: str, status: int, words: str) -> None:
    response = only_redis.post(URL, data=text, content_type="application/json")
    assert (response.status_code, response.get_json()["status"]) == (status, status)
    assert words in response.get_json()["error"]
    assert entries(redis_client) == []


def test_what_is_not_utf8_or_not_called_json_is_refused(only_redis: FlaskClient) -> None:
    assert only_redis.post(URL, data=b'{"ticks": "\xff"}', content_type="application/json").status_code == 400
    assert only_redis.post(URL, data=json.dumps({"ticks": [TICK]})).status_code == 415


def test_a_key_is_stored_once_and_belongs_to_one_body(client: FlaskClient, redis_client: redis.Redis) -> None:
    def post(size: int, key: str = "k1") -> Any:
        return client.post(URL, json={"ticks": [{**TICK, "size": size}]}, headers={"Idempotency-Key": key})

    first, again, other = post(1), post(1), post(2)
    assert first.get_json() == again.get_json()
    assert (other.status_code, other.get_json()["field"]) == (409, "Idempotency-Key")
    assert len(entries(redis_client)) == 1
    assert post(1, "k2").get_json()["task_id"] != first.get_json()["task_id"]
    assert post(1, "x" * 256).status_code == 400


def test_one_key_sent_at_once_by_many_is_appended_once(app: Flask, redis_client: redis.Redis) -> None:
    def post(_: int) -> str:
        return str(app.test_client().post(URL, json={"ticks": [TICK]}, headers={"Idempotency-Key": "k"}).get_json()["task_id"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(post, range(24)))) == 1
    assert len(entries(redis_client)) == 1


def test_a_full_redis_takes_none_of_it(
    client: FlaskClient, redis_client: redis.Redis, restore_memory: Callable[[], None]
) -> None:
    redis_client.config_set("maxmemory", "1mb")
    ticks = [{**TICK, "trade_id": n} for n in range(20_000)]
    response = client.post(URL, json={"ticks": ticks})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "Redis is full" in response.get_json()["error"]
    restore_memory()
    assert entries(redis_client) == []


@pytest.fixture
def restore_memory(redis_client: redis.Redis) -> Any:
    before: Any = redis_client.config_get("maxmemory")

    def restore() -> None:
        redis_client.config_set("maxmemory", before["maxmemory"])

    yield restore
    restore()


def test_now_is_accepted(client: FlaskClient) -> None:
    now = datetime.now(UTC).isoformat()
    assert client.post(URL, json={"ticks": [{**TICK, "ts": now}]}).status_code == 202
