"""Small answers of a real web: fresh ones, whatever else the client asks between, also while PostgreSQL makes them wait."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import orjson
import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from common.settings import Settings
from ops.embedded import PrivateServers
from tests.processes.feeding import until
from tests.servers import FreshDatabases
from tests.web.streams import running_web

STATS, BARS, HEALTHZ = "/api/ingestion/stats/", "/api/ingestion/bars/?symbol=BTCUSDT", "/healthz"
WRITERS = 4


@pytest.fixture(scope="module")
def lane_settings(
    fresh_databases: FreshDatabases, servers: PrivateServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A database of this file's own."""
    with fresh_databases.one() as url:
        folder = tmp_path_factory.mktemp("lane")
        yield Settings.from_env({}, database_url=url, redis_url=servers.redis_url(), data_dir=folder)


@pytest.fixture(scope="module")
def web(lane_settings: Settings) -> Iterator[int]:
    """The port of a web over it."""
    with running_web(lane_settings) as (port, _):
        yield port


def connect(port: int) -> http.client.HTTPConnection:
    """A client that stays connected."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def ask(client: http.client.HTTPConnection, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
    """One answer, on the same connection as those before."""
    client.request(method, path, body)
    answer = client.getresponse()
    assert answer.status == 200, answer.read()
    return answer.read()


def stored(client: http.client.HTTPConnection) -> int:
    """The count that `stats/` answers."""
    return int(orjson.loads(ask(client, STATS))["tick_count"])


def test_one_connection_may_ask_for_anything_in_between(web: int) -> None:
    with closing(connect(web)) as client:
        first = client.sock
        for _ in range(3):
            assert stored(client) >= 0
            assert ask(client, HEALTHZ) == b"ok\n"
            assert orjson.loads(ask(client, BARS))["bars"] == []
            assert orjson.loads(ask(client, "/api/v3/ping")) == {}
            assert ask(client, STATS, "GET", b"a body that nobody reads").startswith(b"{")
            assert orjson.loads(ask(client, "/api/v3/time"))["serverTime"] > 0
            first = first or client.sock
            assert client.sock is first
        client.request("HEAD", HEALTHZ)
        assert (client.getresponse().read(), client.sock) == (b"", first)


def test_a_client_that_was_silent_for_a_while_is_answered_again(web: int) -> None:
    with closing(connect(web)) as client, closing(connect(web)) as other:
        ask(client, HEALTHZ)
        first = client.sock
        until_s = time.monotonic() + 0.5  # ten times as long as the lane waits
        while time.monotonic() < until_s:
            ask(other, HEALTHZ)
        assert ask(client, HEALTHZ) == b"ok\n"
        assert client.sock is first


def test_requests_in_one_piece_are_all_answered_in_order(web: int) -> None:
    request = f"GET {HEALTHZ} HTTP/1.1\r\nHost: 127.0.0.1:{web}\r\n\r\n".encode()
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", web), timeout=60) as client:
        client.sendall(request)
        assert b"\r\n\r\nok\n" in client.recv(10_000)
        client.sendall(request * 3 + last)
        came = b""
        while piece := client.recv(10_000):
            came += piece
    assert came.count(b"HTTP/1.1 200 OK") == came.count(b"\r\n\r\nok\n") == 4


def test_headers_that_change_are_read_anew(web: int) -> None:
    def head(headers: str) -> bytes:
        client.sendall(f"GET {HEALTHZ} HTTP/1.1\r\nHost: {headers}\r\n\r\n".encode())
        return client.recv(10_000).partition(b"\r\n")[0]

    with socket.create_connection(("127.0.0.1", web), timeout=60) as client:
        own = f"127.0.0.1:{web}"
        heads = [head(name) for name in (own, own, "elsewhere.example", own, "elsewhere.example", "elsewhere.example", own)]
    ok, refused = b"HTTP/1.1 200 OK", b"HTTP/1.1 403 FORBIDDEN"
    assert heads == [ok, ok, refused, ok, refused, refused, ok]


def test_no_answer_is_older_than_its_request(web: int, lane_settings: Settings) -> None:
    """Each client stores a thousand more, and is told of at least all that it has stored, and of no less than before."""

    def store_and_ask(number: int) -> None:
        with closing(psycopg2.connect(str(lane_settings.database_url))) as database, closing(connect(web)) as client:
            database.autocommit = True
            last = 0
            for round_no in range(1, 31):
                with database.cursor() as cursor:
                    cursor.execute(
                        "INSERT INTO writer_positions (worker, stream, position_ms, position_seq, stored)"
                        " VALUES (%s, 'trades', 0, 0, %s) ON CONFLICT (worker, stream) DO UPDATE SET stored = EXCLUDED.stored",
                        (f"writer_{number}", round_no * 1000),
                    )
                told = stored(client)
                assert told >= round_no * 1000 and told >= last
                last = told

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(store_and_ask, range(WRITERS)))
    with closing(connect(web)) as client:
        assert stored(client) == WRITERS * 30_000


def test_postgresql_that_makes_one_wait_holds_nobody_else_up(web: int, lane_settings: Settings) -> None:
    with closing(connect(web)) as waiting, closing(connect(web)) as other:
        ask(waiting, HEALTHZ), ask(other, HEALTHZ)
        with closing(psycopg2.connect(str(lane_settings.database_url))) as database, database.cursor() as cursor:
            cursor.execute("LOCK TABLE writer_positions IN ACCESS EXCLUSIVE MODE")
            told: list[bytes] = []
            asking = threading.Thread(target=lambda: told.append(ask(waiting, STATS)))
            asking.start()
            until(lambda: _waits(cursor), "a question that waits")
            for _ in range(20):  # few: it gives up after some seconds, and they are long where nobody has a core to himself
                assert ask(other, HEALTHZ) == b"ok\n"
            assert told == [] and _waits(cursor)  # all of them were answered while the first waited
            database.rollback()
        asking.join(60)
        assert told and told[0].startswith(b"{")
        assert ask(waiting, HEALTHZ) == b"ok\n"


def _waits(cursor: Cursor) -> bool:
    """True while somebody waits for the table."""
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'writer_positions'::regclass")
    return cursor.fetchone() == (1,)
