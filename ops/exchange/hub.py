"""Who is connected, to which streams, and what goes out to them.

Trades are written straight to the socket, a whole tick's frames in one write: a frame a send costs ten times the CPU.
Nothing here awaits, so these writes never fall into the middle of a frame of aiohttp's own.
"""

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from aiohttp import web

from common.log import get_logger
from ops.exchange.faults import Faults, disturbed
from ops.exchange.limits import STREAMS_A_CONNECTION, IncomingLimit
from ops.exchange.protocol import Request, Wire, answer, frames, shutdown_message, stream_name, trade_messages

MOST_BUFFERED = 32 << 20
"""Bytes a client may leave unread beyond the kernel's buffers before it is disconnected."""
GOING_AWAY, POLICY = 1001, 1008

log = get_logger(__name__)
_numbers = count(1)


class Connection:
    """One client's WebSocket."""

    def __init__(self, request: web.Request, ws: web.WebSocketResponse, wire: Wire, now_s: float) -> None:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self.number = next(_numbers)
        self.ws, self.wire, self.opened_s = ws, wire, now_s
        self.streams: dict[str, None] = {}
        self.sent = 0
        self.incoming = IncomingLimit()
        self.pinged_s = now_s
        self.unanswered: dict[bytes, float] = {}
        self.warned = False
        self._transport, self._flow = transport, request.protocol

    def write(self, messages: Sequence[str]) -> None:
        """Send text messages."""
        self.write_frames(frames(list(messages)), len(messages))

    def write_frames(self, made: bytes, messages: int) -> None:
        """Send frames made before; cuts the connection of a client that does not read."""
        if self._transport.is_closing():
            return
        self._transport.write(made)
        self.sent += messages
        if self._transport.get_write_buffer_size() > MOST_BUFFERED:
            log.warning("client %d reads too slowly: disconnected with %d MB unread", self.number, MOST_BUFFERED >> 20)
            self.cut()

    def ping(self, now_s: float) -> None:
        """Send a ping frame whose payload the pong has to copy."""
        payload = str(time.time_ns() // 1_000_000).encode()
        self.pinged_s = now_s
        self.unanswered[payload] = now_s
        self._transport.write(bytes([0x89, len(payload)]) + payload)

    def pong(self, payload: bytes) -> None:
        """An answered ping also answers those before it; any other pong counts for nothing."""
        if payload in self.unanswered:
            self.unanswered.clear()

    def overdue(self, now_s: float, within_s: float) -> bool:
        """True if a ping has waited too long for its pong."""
        return any(now_s - sent_s > within_s for sent_s in self.unanswered.values())

    async def drain(self) -> None:
        """Wait until the client has read enough to send more."""
        if not self._transport.is_closing():
            # aiohttp shows no public way to wait for the socket other than through its own frame writer.
            await self._flow._drain_helper()

    def cut(self) -> None:
        """End it without a close frame, as a broken line would."""
        self._transport.abort()


class Hub:
    """All connections, and the streams they listen to."""

    def __init__(self, seed: int) -> None:
        self.connections: dict[int, Connection] = {}
        self.faults = Faults()
        self.published = 0
        self.subscribed = asyncio.Event()
        self._listeners: dict[str, dict[int, Connection]] = {}
        self._chance = random.Random(seed)

    def add(self, connection: Connection, streams: Iterable[str]) -> bool:
        """Take in a connection; False if it asks for too many streams."""
        self.connections[connection.number] = connection
        return self.subscribe(connection, streams)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.pop(connection.number, None)
        self.unsubscribe(connection, list(connection.streams))

    def subscribe(self, connection: Connection, streams: Iterable[str]) -> bool:
        """Add streams, known or not; False if they are more than one connection may have."""
        for name in streams:
            connection.streams[name] = None
            self._listeners.setdefault(name, {})[connection.number] = connection
        self.subscribed.set()
        return len(connection.streams) <= STREAMS_A_CONNECTION

    def unsubscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        """Take streams off."""
        for name in streams:
            connection.streams.pop(name, None)
            listeners = self._listeners.get(name, {})
            listeners.pop(connection.number, None)
            if not listeners:
                self._listeners.pop(name, None)

    def obey(self, connection: Connection, asked: Request) -> bool:
        """Do what a request says and acknowledge it; False if the connection has to end for it."""
        result: Any = None
        allowed = True
        if asked.method == "SUBSCRIBE":
            allowed = self.subscribe(connection, asked.params)
        elif asked.method == "UNSUBSCRIBE":
            self.unsubscribe(connection, asked.params)
        elif asked.method == "LIST_SUBSCRIPTIONS":
            result = list(connection.streams)
        elif asked.method == "SET_PROPERTY":
            connection.wire = Wire(asked.params[1], connection.wire.microseconds)
        else:
            result = connection.wire.combined
        connection.write([answer(asked, result)])
        return allowed

    def listeners(self, symbol: str, kind: str) -> list[Connection]:
        """The connections that get a stream now."""
        return list(self._listeners.get(stream_name(symbol, kind), {}).values())

    def publish(self, symbol: str, kind: str, prints: Sequence[Any], event_us: int | None) -> None:
        """Send prints of one stream to all who listen; each wire's frames are made once."""
        made: dict[Wire, tuple[list[str], bytes]] = {}
        self.published += len(prints)
        is_silent = self.faults.silent or self.faults.mute == symbol
        for connection in () if is_silent else self.listeners(symbol, kind):
            wire = connection.wire
            if wire not in made:
                messages = trade_messages(symbol, kind, prints, event_us, wire)
                made[wire] = messages, frames(messages)
            self._send(connection, *made[wire])

    def warn(self, connection: Connection, now_us: int) -> None:
        """Tell a client, once, that its connection ends soon."""
        if not connection.warned:
            connection.warned = True
            connection.write([shutdown_message(now_us, connection.wire)])

    def cut_all(self) -> int:
        """Cut every connection; how many there were."""
        doomed = list(self.connections.values())
        for connection in doomed:
            connection.cut()
        return len(doomed)

    def _send(self, connection: Connection, messages: list[str], made: bytes) -> None:
        faulty = disturbed(messages, self.faults, self._chance)
        left = self.faults.cut_after - connection.sent if self.faults.cut_after else len(faulty) + 1
        if faulty is messages and left > len(messages):
            connection.write_frames(made, len(messages))
            return
        connection.write(faulty[: max(0, left)])
        if left <= len(faulty):
            connection.cut()
