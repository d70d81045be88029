"""The feed against real WebSocket servers that do what venues do: split frames, ping, close, refuse."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import orjson
import pytest
from aiohttp import WSMsgType, web

from common.codec import decode_rows
from common.errors import FeedRejected, FeedUnavailable
from common.lifecycle import Stop
from common.settings import Settings
from producer.batcher import Batch
from producer.clock import StreamClock
from producer.feed import Feed
from producer.flow import Flow
from producer.wires.websocket_client import WebsocketClientWire

DEADLINE_S = 10.0
Behaviour = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


def message(trade_id: int, **change: object) -> str:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": trade_id, "p": "1.50", "q": "2", "T": 1704067200000 + trade_id, "m": True}
    return orjson.dumps({"stream": "btcusdt@trade", "data": data | change}).decode()


@contextmanager
def venue(behaviour: Behaviour) -> Iterator[str]:
    """A WebSocket server in a thread of its own; its base address."""
    started: list[object] = []
    ready = threading.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        await behaviour(ws, request)
        return ws

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/stream", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ended = asyncio.Event()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.extend([port, asyncio.get_running_loop(), ended])
        ready.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(DEADLINE_S)
    port, loop, ended = started
    try:
        yield f"ws://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)  # type: ignore[attr-defined]
        thread.join(DEADLINE_S)


class Taken:
    """Where the feed's batches go; the other end of it is the publisher in production."""

    def __init__(self) -> None:
        self.feeds_closed = False
        self.batches: list[Batch] = []

    def put(self, batch: Batch) -> None:
        self.batches.append(batch)

    def ids(self) -> list[int]:
        return [trade.trade_id for batch in self.batches for trade in decode_rows(batch.rows)]


@contextmanager
def feeding(url: str, **settings: object) -> Iterator[tuple[Feed, Taken]]:
    """A feed of BTCUSDT at work; what it would catch up is given up at once."""
    taken, stop = Taken(), Stop()

    def no_rest(flow: Flow) -> None:
        flow.skip_to_held()
        while run := flow.take_run():
            for trade in run:
                feed._pass(flow, trade, 0.0, 1_800_000_000_000)
        flow.end()

    given = {"binance_ws_url": url, "symbols": ("BTCUSDT",), "pairs": ()} | settings
    feed = Feed(Settings.from_env({}, **given), [Flow("BTCUSDT", "binance.trade", "trades")], taken, no_rest, StreamClock(), stop)
    thread = threading.Thread(target=feed.run)
    thread.start()
    try:
        yield feed, taken
    finally:
        stop.ask()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.01)


async def wait_closed(ws: web.WebSocketResponse) -> None:
    async for received in ws:
        if received.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
            return


def test_it_subscribes_by_the_address():
    asked = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        asked.append(request.path_qs)
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url, symbols=("BTCUSDT",)) as (_, taken):
        until(lambda: taken.ids() == [1], "the trade")
    assert asked == ["/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"]


def test_a_ping_is_answered_with_its_payload():
    pongs = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.ping(b"1704067200123")
        received = await ws.receive()
        pongs.append((received.type, bytes(received.data)))
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (_, taken):
        until(lambda: taken.ids() == [1], "the trade after the ping")
    assert pongs == [(WSMsgType.PONG, b"1704067200123")]


def test_frames_may_come_in_any_pieces():
    """Split over packets, fragmented over frames, a thousand in one packet, binary, and very long."""

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        transport = request.transport
        assert transport is not None
        first = message(1).encode()
        frame = b"\x81\x7e" + len(first).to_bytes(2, "big") + first
        for at in range(0, len(frame), 7):
            transport.write(frame[at : at + 7])
            await asyncio.sleep(0.001)
        second = message(2).encode()
        transport.write(b"\x01" + bytes([50]) + second[:50] + b"\x89\x01!" + b"\x80" + bytes([len(second) - 50]) + second[50:])
        third = message(3, note="x" * 200_000).encode()
        transport.write(b"\x82\x7f" + len(third).to_bytes(8, "big") + third)
        bodies = [message(number).encode() for number in range(4, 1004)]
        transport.write(b"".join(b"\x81\x7e" + len(body).to_bytes(2, "big") + body for body in bodies))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (_, taken):
        until(lambda: len(taken.ids()) == 1003, "all trades")
    assert taken.ids() == list(range(1, 1004))


def test_it_connects_again_after_any_end():
    connects = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        connects.append(1)
        await ws.send_str(message(len(connects)))
        if len(connects) == 1:
            await ws.close(code=1008, message=b"Pong timeout")
        elif len(connects) == 2:
            assert request.transport
            request.transport.abort()
        else:
            await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (feed, taken):
        until(lambda: taken.ids() == [1, 2, 3], "three connections")
        assert feed.connects == 3


def test_pings_alone_do_not_keep_a_silent_connection():
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        while not ws.closed:
            await ws.ping(b"x")
            await asyncio.sleep(0.02)

    with venue(behave) as url, feeding(url, stale_after_s=0.3) as (feed, _):
        until(lambda: feed.connects >= 3, "new connections")


def test_a_quiet_trade_is_handed_on_after_the_linger():
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url, linger_ms=50.0) as (_, taken):
        until(lambda: taken.ids() == [1], "the trade")
        assert taken.batches[0].n == 1


def test_what_can_not_be_used_is_counted_and_kept_if_it_is_a_trade():
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        for text in (
            "{",
            "[]",
            '{"e":"new"}',
            message(1, p=1.5),
            message(2, p="-1"),
            message(3, s="ETHUSDT"),
            message(3, p="\u0000"),
        ):
            await ws.send_str(text)
        await ws.send_str(message(4))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (feed, taken):
        until(lambda: taken.ids() == [4], "the good trade")
        assert feed.samples.counted == 7
        letters = [(reject.entry_id, reject.field) for reject in feed.samples.take()]
        assert letters == [("BTCUSDT:2", "price"), ("BTCUSDT:3", "price")]


def test_a_full_spool_closes_the_feed_until_there_is_room():
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (feed, taken):
        until(lambda: taken.ids() == [1], "the trade")
        taken.feeds_closed = True
        until(lambda: not feed.connected, "the end of the connection")
        taken.feeds_closed = False
        until(lambda: feed.connects == 2, "the new connection")


def test_a_handshake_says_whether_to_try_again():
    with venue(wait_closed) as url, pytest.raises(FeedRejected, match="404"):  # type: ignore[arg-type]
        WebsocketClientWire(f"{url}/nowhere")
    with pytest.raises(FeedUnavailable, match="can not connect"):
        WebsocketClientWire(f"{url}/stream")
