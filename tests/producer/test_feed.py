"""The feed against real WebSocket servers that do what venues do: split frames, ping, close, refuse."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest
from aiohttp import WSMsgType, web

from common.codec import decode_rows
from common.lifecycle import Stop
from common.settings import Settings
from producer.batcher import Batch
from producer.clock import StreamClock
from producer.feed import Feed
from producer.flow import Flow
from tests.producer.venue import CLIENTS, DEADLINE_S, frame, message, until, venue, wait_closed

Feeding = Callable[..., AbstractContextManager[tuple[Feed, "Taken"]]]


class Taken:
    """Where the feed's batches go; the other end of it is the publisher in production."""

    def __init__(self) -> None:
        self.feeds_closed = False
        self.batches: list[Batch] = []

    def put(self, batch: Batch) -> None:
        self.batches.append(batch)

    def ids(self) -> list[int]:
        return [trade.trade_id for batch in self.batches for trade in decode_rows(batch.rows)]


@pytest.fixture(params=CLIENTS)
def feeding(request: pytest.FixtureRequest) -> Feeding:
    """`feed_of` by each of the libraries."""
    return partial(feed_of, ws_client=request.param)


@contextmanager
def feed_of(url: str, **settings: object) -> Iterator[tuple[Feed, Taken]]:
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


def test_it_subscribes_by_the_address(feeding):
    asked = []

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        asked.append(request.path_qs)
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url, symbols=("BTCUSDT",)) as (_, taken):
        until(lambda: taken.ids() == [1], "the trade")
    assert asked == ["/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"]


def test_a_ping_is_answered_with_its_payload(feeding):
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


def test_frames_may_come_in_any_pieces(feeding):
    """Split over packets, fragmented over frames, a thousand in one packet, binary, and very long."""

    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        transport = request.transport
        assert transport is not None
        first = frame(message(1).encode())
        for at in range(0, len(first), 7):
            transport.write(first[at : at + 7])
            await asyncio.sleep(0.001)
        second = message(2).encode()
        transport.write(frame(second[:50], 0x01) + frame(b"!", 0x89) + frame(second[50:], 0x80))
        transport.write(frame(message(3, note="x" * 200_000).encode(), 0x82))
        transport.write(b"".join(frame(message(number).encode()) for number in range(4, 1004)))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (_, taken):
        until(lambda: len(taken.ids()) == 1003, "all trades")
    assert taken.ids() == list(range(1, 1004))


def test_it_connects_again_after_any_end(feeding):
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


def test_pings_alone_do_not_keep_a_silent_connection(feeding):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        while not ws.closed:
            await ws.ping(b"x")
            await asyncio.sleep(0.02)

    with venue(behave) as url, feeding(url, stale_after_s=0.3) as (feed, _):
        until(lambda: feed.connects >= 3, "new connections")


def test_a_quiet_trade_is_handed_on_after_the_linger(feeding):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url, linger_ms=50.0) as (_, taken):
        until(lambda: taken.ids() == [1], "the trade")
        assert taken.batches[0].n == 1


def test_what_can_not_be_used_is_counted_and_kept_if_it_is_a_trade(feeding):
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


def test_a_full_spool_closes_the_feed_until_there_is_room(feeding):
    async def behave(ws: web.WebSocketResponse, request: web.Request) -> None:
        await ws.send_str(message(1))
        await wait_closed(ws)

    with venue(behave) as url, feeding(url) as (feed, taken):
        until(lambda: taken.ids() == [1], "the trade")
        taken.feeds_closed = True
        until(lambda: not feed.connected, "the end of the connection")
        taken.feeds_closed = False
        until(lambda: feed.connects == 2, "the new connection")
