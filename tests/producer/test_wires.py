"""What the feed asks of a connection holds whatever library is behind it; against real servers, some of which cheat."""

import asyncio
import os
import ssl
import sys
from pathlib import Path

import pytest
import trustme
from aiohttp import WSMsgType, web

from common.errors import ConfigError, FeedRejected, FeedUnavailable
from common.settings import Settings
from producer.wire import MAX_MESSAGE_BYTES, Connect, Wire, connect_by
from tests.producer.venue import CLIENTS, DEADLINE_S, frame, message, raw_venue, until, upgrade, venue, wait_closed


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest) -> Connect:
    return connect_by(Settings.from_env({}, ws_client=request.param))


def read(wire: Wire, count: int) -> list[bytes]:
    """So many messages."""
    found: list[bytes] = []
    while len(found) < count:
        assert wire.ready(DEADLINE_S), f"{len(found)} of {count} messages"
        found += wire.recv(count - len(found))
    return found


def read_to_the_end(wire: Wire) -> list[bytes]:
    """All messages until the connection breaks; raises what the wire raises then, its messages as a note."""
    found: list[bytes] = []
    try:
        while True:
            found += read(wire, 1)
    except FeedUnavailable as exc:
        exc.add_note(repr([text[:99] for text in found]))
        raise


def test_a_ping_is_no_message(connect):
    async def silent(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.ping(b"x")
        await wait_closed(ws)

    with venue(silent) as url:
        wire = connect(f"{url}/stream")
        while wire.ready(0.05):
            assert wire.recv(9) == []
        assert not wire.ready(0.0)
        wire.close()


def test_what_comes_in_the_packet_of_the_handshake_is_not_lost(connect):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await upgrade(reader) + frame(b"first") + frame(b"second") + frame(b"!", 0x89) + frame(b"third"))
        await reader.read()
        writer.close()

    with raw_venue(talk) as url:
        wire = connect(url)
        assert read(wire, 3) == [b"first", b"second", b"third"]
        wire.close()


def test_the_end_is_told_after_the_messages_before_it(connect):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str("a")
        await ws.send_str("b")
        await ws.close(code=1008, message=b"Pong timeout")

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        with pytest.raises(FeedUnavailable, match=r"the venue closed the connection \(code 1008 Pong timeout\)") as caught:
            read_to_the_end(wire)
        assert caught.value.__notes__ == ["[b'a', b'b']"]
        wire.close()


def test_a_broken_line_is_told(connect):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str("a")
        assert request.transport
        request.transport.abort()

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        with pytest.raises(FeedUnavailable, match="the connection broke"):
            read_to_the_end(wire)
        wire.close()


MOST = b"x" * (MAX_MESSAGE_BYTES * 3 // 4)


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"packed", 0xC1),
        frame(b"of no kind", 0x83),
        frame(b"goes on", 0x80),
        frame(b"begins", 0x01) + frame(b"begins too", 0x81),
        frame(b"begins", 0x01) + frame(b"?", 0x89) + frame(b"begins too", 0x81),
        frame(b"x" * (MAX_MESSAGE_BYTES + 1)),
        frame(MOST, 0x01) + frame(MOST, 0x80),
        b"\x81\x7f" + (2**62).to_bytes(8, "big") + MOST + MOST,
    ],
    ids=["extension", "opcode", "no beginning", "two beginnings", "a ping between", "long", "long in parts", "endless"],
)
def test_a_venue_that_breaks_the_protocol_is_left(connect, sent):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str("good")
        assert request.transport
        request.transport.write(sent)  # type: ignore[attr-defined]
        await wait_closed(ws)

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        with pytest.raises(FeedUnavailable, match="the connection broke") as caught:
            read_to_the_end(wire)
        assert caught.value.__notes__ in (["[b'good']"], ["[]"])  # what came with the fault may be lost; REST has it
        wire.close()


def test_parts_of_the_largest_message_are_put_together(connect):
    parts = [frame(b"x" * (MAX_MESSAGE_BYTES // 4), 0x01), frame(b"?", 0x89)]
    parts += [frame(b"y" * (MAX_MESSAGE_BYTES // 4), 0x00), frame(b"z" * (MAX_MESSAGE_BYTES // 4), 0x80)]

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport
        for part in parts * 3:
            request.transport.write(part)  # type: ignore[attr-defined]
        await wait_closed(ws)

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        assert [len(text) for text in read(wire, 3)] == [MAX_MESSAGE_BYTES // 4 * 3] * 3
        wire.close()


@pytest.mark.parametrize("piece", [1 << 20, 1000, 7], ids=["whole", "in packets", "in crumbs"])
def test_frames_of_every_length_and_kind_are_the_same_messages_in_any_pieces(connect, piece):
    lengths = (0, 1, 2, 3, 125, 126, 127, 128, 1000, *((65_535, 65_536, 70_000) if piece > 7 else ()))
    expected, sent = [], b""
    for number, size in enumerate(lengths):
        text = bytes([97 + number]) * size
        expected += [text, b"plain", text, text + b"end", b"?"]
        sent += frame(text) + frame(b"!", 0x89) + frame(b"plain") + frame(text, 0x82)
        sent += frame(text, 0x01) + frame(b"", 0x8A) + frame(b"end", 0x80) + frame(b"?")

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport
        for at in range(0, len(sent), piece):
            request.transport.write(sent[at : at + piece])  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        await wait_closed(ws)

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        assert read(wire, len(expected)) == expected
        wire.close()


def test_it_reads_no_further_while_messages_wait(connect):
    sent = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        for number in range(200_000):
            await ws.send_str(message(number))
            sent.append(number)
        await wait_closed(ws)

    with venue(behave) as url:
        wire = connect(f"{url}/stream")
        assert wire.ready(DEADLINE_S)
        (first,) = wire.recv(1)
        until(lambda: len(sent) > 1000, "the flood")
        waiting = len(getattr(wire, "_messages", ()))
        assert all(wire.ready(0.0) for _ in range(1000) if waiting)
        assert len(getattr(wire, "_messages", ())) == waiting
        assert [first, *read(wire, 49_999)] == [message(number).encode() for number in range(50_000)]
        wire.close()


def test_closing_says_so_frees_all_and_may_be_repeated(connect):
    heard = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        received = await ws.receive()
        heard.append((received.type, ws.close_code))

    with venue(behave) as url:
        before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
        wire = connect(f"{url}/stream")
        wire.close()
        wire.close()
        until(lambda: bool(heard), "the close frame")
        assert heard == [(WSMsgType.CLOSE, 1000)]
        if before:
            until(lambda: len(os.listdir("/proc/self/fd")) <= before, "the sockets' end")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, FeedRejected), (400, FeedRejected), (403, FeedUnavailable), (429, FeedUnavailable), (503, FeedUnavailable)],
)
def test_a_handshake_says_whether_to_try_again(connect, status, kind):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno".encode())
        writer.close()

    with raw_venue(talk) as url, pytest.raises(kind, match=f"HTTP {status}"):
        connect(url)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 101 Yes\r\n\r\n", b"what?\r\n\r\n", b"x" * 100_000], ids=["nothing", "no proof", "no HTTP", "long"]
)
def test_what_is_no_handshake_is_no_connection(connect, said):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    with raw_venue(talk) as url, pytest.raises(FeedUnavailable, match="can not connect"):
        connect(url)
    with pytest.raises(FeedUnavailable, match="can not connect"):
        connect(url)  # nobody is there now
    with pytest.raises(FeedUnavailable, match="can not connect"):
        connect("http://127.0.0.1")


def test_a_certificate_must_be_of_a_known_authority_and_of_the_name(connect, monkeypatch, tmp_path):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str("sealed")
        await ws.send_str("x" * 300_000)
        await wait_closed(ws)

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, trusted in (("127.0.0.1", True), ("127.0.0.1", False), ("stream.example", True)):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(tls)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem") if trusted else os.devnull)
        with venue(behave, tls) as url:
            if name == "127.0.0.1" and trusted:
                wire = connect(f"{url}/stream")
                assert [len(text) for text in read(wire, 2)] == [6, 300_000]
                wire.close()
            else:
                with pytest.raises(FeedUnavailable, match=r"can not connect.*certificate verify failed"):
                    connect(f"{url}/stream")


def test_a_library_that_can_not_be_loaded_names_the_setting(monkeypatch):
    monkeypatch.setitem(sys.modules, "producer.wires.picows_client", None)
    with pytest.raises(ConfigError, match="GEMS_WS_CLIENT: picows can not be loaded"):
        connect_by(Settings.from_env({}, ws_client="picows"))
