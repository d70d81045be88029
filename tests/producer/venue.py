"""Real WebSocket servers for the feed, which do what a test tells them."""

import asyncio
import base64
import hashlib
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import orjson
from aiohttp import WSMsgType, web

DEADLINE_S = 60.0
CLIENTS = ("websocket-client", "picows")
Behaviour = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def message(trade_id: int, **change: object) -> str:
    """A trade of BTCUSDT."""
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": trade_id, "p": "1.50", "q": "2", "T": 1704067200000 + trade_id, "m": True}
    return orjson.dumps({"stream": "btcusdt@trade", "data": data | change}).decode()


def frame(payload: bytes, head: int = 0x81) -> bytes:
    """A frame of a server; `head` is FIN, the reserved bits and the opcode."""
    size = len(payload)
    if size < 126:
        return bytes([head, size]) + payload
    if size < 65_536:
        return bytes([head, 126]) + size.to_bytes(2, "big") + payload
    return bytes([head, 127]) + size.to_bytes(8, "big") + payload


@contextmanager
def venue(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A WebSocket server in a thread of its own; its base address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        await behaviour(ws, request)
        return ws

    async def serve() -> tuple[int, Callable[[], Awaitable[None]]]:
        app = web.Application()
        app.router.add_get("/stream", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        return site._server.sockets[0].getsockname()[1], runner.cleanup  # type: ignore[union-attr]

    with _serving(serve) as port:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"


@contextmanager
def raw_venue(talk: Talk) -> Iterator[str]:
    """A TCP server that says what `talk` says, headers included; its base address."""

    async def serve() -> tuple[int, Callable[[], Awaitable[None]]]:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)

        async def end() -> None:
            server.close()

        return server.sockets[0].getsockname()[1], end

    with _serving(serve) as port:
        yield f"ws://127.0.0.1:{port}"


async def upgrade(reader: asyncio.StreamReader) -> bytes:
    """Read a handshake; the answer that accepts it, not yet sent."""
    asked = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.partition(": ")[2] for line in asked.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {proof}")
    return "\r\n".join((*lines, "", "")).encode()


@contextmanager
def _serving(serve: Callable[[], Awaitable[tuple[int, Callable[[], Awaitable[None]]]]]) -> Iterator[int]:
    started: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def body() -> None:
        port, end = await serve()
        ended = asyncio.Event()
        started.append((port, asyncio.get_running_loop(), ended))
        ready.set()
        await ended.wait()
        await end()

    thread = threading.Thread(target=lambda: asyncio.run(body()))
    thread.start()
    assert ready.wait(DEADLINE_S)
    port, loop, ended = started[0]
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(DEADLINE_S)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.01)


async def wait_closed(ws: web.WebSocketResponse) -> None:
    """Until the client closes."""
    async for received in ws:
        if received.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
            return
