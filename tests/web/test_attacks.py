"""What a stranger at the port may try, with real sockets against gunicorn as it is started in earnest."""

import gzip
import io
import json
import re
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import psutil
import pytest

from common.settings import Settings
from ops.embedded import PrivateServers
from tests.servers import FreshDatabases
from tests.web.streams import Reader, running_web
from web.app import MAX_BODY_BYTES

pytestmark = pytest.mark.process
THREADS, PATIENCE_S, UPLOAD_MB = 4, 2.0, 32
CREATE = "/api/analytics/alerts/create/"
DEADLINE_S = 60


class Web(NamedTuple):
    """The web under attack."""

    port: int
    process: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
def web(servers: PrivateServers, fresh_databases: FreshDatabases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A web with few threads and little patience; one for all attacks, each of which leaves it working."""
    few = {"web_threads": THREADS, "web_patience_s": PATIENCE_S, "sse_clients": 60, "upload_max_mb": UPLOAD_MB}
    with fresh_databases.one() as url:
        where = {"database_url": url, "redis_url": servers.redis_url(), "data_dir": tmp_path_factory.mktemp("web")}
        with running_web(Settings.from_env({}, **where, **few)) as (port, process):
            yield Web(port, process)


def opened(web: Web, *said: bytes) -> socket.socket:
    """A connection that has said something."""
    made = socket.create_connection(("127.0.0.1", web.port), timeout=DEADLINE_S)
    for each in said:
        made.sendall(each)
    return made


def heard(connection: socket.socket) -> bytes:
    """All that it is told until it is closed."""
    told = b""
    try:
        while came := connection.recv(1 << 16):
            told += came
    except ConnectionResetError:
        pass
    return told


def head(method: str, path: str, **headers: object) -> bytes:
    """The head of a request; `_` in a name stands for `-`. It closes after its answer, and has our name unless told."""
    all_headers = {"Host": "localhost", "Connection": "close", **{name.replace("_", "-"): told for name, told in headers.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {told}" for name, told in all_headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def status(told: bytes) -> int:
    """The status of an answer."""
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", told)
    assert found, told[:200]
    return int(found[1])


def ask(web: Web, *said: bytes) -> tuple[int, bytes]:
    """Status of a request, and all of its answer."""
    with opened(web, *said) as connection:
        told = heard(connection)
    return status(told), told


def answers(web: Web) -> None:
    """It still works for others."""
    assert ask(web, head("GET", "/api/ingestion/stats/"))[0] == 200


def post(body: bytes, path: str = CREATE, content_type: str = "application/json", **headers: object) -> bytes:
    return head("POST", path, Content_Type=content_type, Content_Length=len(body), **headers) + body


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def memory_mb(web: Web) -> float:
    return sum(each.memory_info().rss for each in psutil.Process(web.process.pid).children()) / 1e6


def test_bombs_are_refused_or_kept_as_they_are(web: Web) -> None:
    """None of them is unpacked in the web: its memory stays."""
    answers(web)
    before_mb = memory_mb(web)
    code, told = ask(web, post(gzip.compress(b" " * (256 << 20)), Content_Encoding="gzip"))
    assert (code, b'"field":"body"' in told.replace(b" ", b"")) == (400, True)
    deep = b'{"condition":' * 200_000
    assert ask(web, post(deep))[0] == 400
    assert ask(web, post(b"[" * 1_000_000))[0] == 400
    assert ask(web, post(b'{"condition": {"threshold": ' + b"9" * 1_000_000 + b"}}"))[0] == 400
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", b"0" * (256 << 20))
    part = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="bomb.zip"\r\n\r\n' + packed.getvalue() + b"\r\n--b--\r\n"
    )
    assert ask(web, post(part, "/api/ingestion/upload/", "multipart/form-data; boundary=b"))[0] == 202
    answers(web)
    assert memory_mb(web) < before_mb + 100


def test_a_body_without_a_length_is_bounded_too(web: Web) -> None:
    """Neither read for ever, nor cut at the limit and taken for whole."""
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
    for path, kind, begins, most_mb in (
        (CREATE, "application/json", b"{}", MAX_BODY_BYTES >> 20),
        ("/api/ingestion/upload/", "multipart/form-data; boundary=b", form, UPLOAD_MB),
    ):
        with opened(web, head("POST", path, Content_Type=kind, Transfer_Encoding="chunked"), chunk(begins)) as connection:
            try:
                for _ in range(most_mb * 2):
                    connection.sendall(chunk(b" " * (1 << 20)))
            except (BrokenPipeError, ConnectionResetError):
                pass
            told = heard(connection)
        assert told == b"" or status(told) == 413  # a client that only sends may see no more than a closed connection
        answers(web)
    whole = head("POST", CREATE, Content_Type="application/json", Transfer_Encoding="chunked") + b"2\r\n{}\r\n0\r\n\r\n"
    assert ask(web, whole)[0] == 400


def test_a_length_past_the_limit_is_refused_unread(web: Web) -> None:
    said = head("POST", CREATE, Content_Type="application/json", Content_Length=MAX_BODY_BYTES + 1)
    assert ask(web, said)[0] == 413
    assert (
        ask(web, head("POST", "/api/ingestion/upload/", Content_Type="multipart/form-data; boundary=b", Content_Length=10**15))[0]
        == 413
    )
    answers(web)


def test_slow_clients_keep_a_thread_for_seconds_and_silent_ones_none(web: Web) -> None:
    slow_head = head("GET", "/healthz")[:-4]
    slow_body = head("POST", CREATE, Content_Type="application/json", Content_Length=1000)
    with ExitStack() as stack:
        silent = [stack.enter_context(opened(web)) for _ in range(3 * THREADS)]
        answers(web)
        slow = [stack.enter_context(opened(web, said)) for said in [slow_head, slow_body] * THREADS]
        said_s = time.monotonic()
        while any(_is_open(each) for each in slow) and time.monotonic() < said_s + DEADLINE_S:
            for each in slow:
                _say_a_little(each)
            time.sleep(0.2)  # the pace of the attack, not a condition
        assert not any(_is_open(each) for each in slow)
        answers(web)
        assert all(heard(each) == b"" for each in silent), "who says nothing is closed, and told nothing"


def _is_open(connection: socket.socket) -> bool:
    """An answer counts as an end: it says that the body did not come."""
    try:
        return connection.recv(1 << 16, socket.MSG_DONTWAIT) == b"" and False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _say_a_little(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.send(b"x")


def test_who_does_not_read_an_answer_or_does_not_close_holds_up_nobody(web: Web) -> None:
    """Two seconds for each of them, one after another, would be more than `answers` waits."""
    with ExitStack() as stack:
        for _ in range(DEADLINE_S):
            stack.enter_context(opened(web, head("GET", "/healthz")))
        answers(web)


def test_live_streams_hold_no_thread_and_have_a_last_place(web: Web) -> None:
    readers = [Reader(web.port, "?topics=bars") for _ in range(60)]
    assert {reader.response.status for reader in readers} == {200}
    refused = Reader(web.port)
    assert refused.response.status == 503
    answers(web)
    for reader in [*readers, refused]:
        reader.close()
    answers(web)


@pytest.mark.parametrize(
    ("host", "code"), [("evil.example", 403), ("localhost.evil.example", 403), ("localhost", 200), ("127.0.0.1:1", 200)]
)
def test_a_forged_host_is_refused(web: Web, host: str, code: int) -> None:
    assert ask(web, head("GET", "/api/ingestion/stats/", Host=host))[0] == code
    assert ask(web, head("GET", "/api/ingestion/stats/", Host=host, X_Forwarded_Host="localhost"))[0] == code
    assert ask(web, head("POST", CREATE, Host="localhost", Origin=f"http://{host}", Content_Length=0))[0] == (
        403 if host != "localhost" else 400
    )


def test_no_limit_is_large_enough(web: Web) -> None:
    for path in (
        "/api/ingestion/ticks/?symbol=BTCUSDT",
        "/api/analytics/alerts/?x=1",
        "/api/v3/klines?symbol=BTCUSDT&interval=1m",
    ):
        for limit in ("1000000000", "9" * 400, "-1", "1e9"):
            code, told = ask(web, head("GET", f"{path}&limit={limit}"))
            assert (code, b"Traceback" in told) == (400, False), (path, limit, told)


ASKS = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POSTS = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
STRANGE = [
    b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000,
    b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", ASKS + b"A: b\r\n" * 500 + b"\r\n",
    ASKS + b"A: " + b"b" * 20_000 + b"\r\n\r\n", ASKS + b"A b: c\r\n\r\n", ASKS + b"Host: b\r\n\r\n",
    POSTS + b"Content-Length: -1\r\n\r\n", POSTS + b"Content-Length: 1e3\r\n\r\n",
    POSTS + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
    POSTS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
]  # fmt: skip


def test_nothing_strange_shows_a_trace_or_ends_the_web(web: Web) -> None:
    for said in STRANGE:
        with opened(web) as connection:
            try:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            told = heard(connection)
        assert not re.search(rb"Traceback|File \"|\.py", told), (said[:60], told[:300])
        assert told == b"" or status(told) < 500 or status(told) in (501, 505), (said[:60], told[:100])
    answers(web)


def test_a_fault_is_told_without_its_cause(web: Web) -> None:
    code, told = ask(web, head("GET", "/api/tasks/1/"))
    assert code == 404
    assert set(json.loads(told.partition(b"\r\n\r\n")[2])) == {"error", "status"}
