"""One thread carries every live stream that has caught up: an event loop of non-blocking sockets, so a listener costs no thread.

Streams are written to in rounds: what has come for each of them since the last, in one write. After every few of them there is
a pause a few times as long as they took, so that hundreds of listeners never take more than a part of the interpreter.
"""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from common.log import get_logger
from web.clients import Client
from web.frames import dropped

#: In the WSGI environment of a server that understands `HandedOver`.
HANDS_OVER = "gems.hands_over"
HEARTBEAT_S = 10.0
HEARTBEAT = b": heartbeat\n\n"
#: Streams that are written to without a pause, and how many times as long as that took the pause is.
STREAMS_AT_ONCE, PAUSE = 100, 4.0
#: A longer pause would be a burst at its end.
PAUSE_MOST_S = 0.05
LOOK_S = 1.0  # between two looks at heartbeats and keys
#: Seconds for the last bytes of a stream that ends.
GOODBYE_S = 5.0
#: Bytes that wait in a stream's own buffer before its queue grows instead.
BUFFERED_BYTES = 1 << 16

log = get_logger(__name__)


class HandedOver(BaseException):
    """Out of a response's body: the carrier has its socket now, and the server lets go of it. No fault, so no Exception."""


class Handed(NamedTuple):
    """A listener whose response is to go on in the carrier."""

    client: Client
    connection: socket.socket
    chunked: bool  # as HTTP/1.1 frames it
    lost: Callable[[], bool]  # True once its key was revoked; may ask PostgreSQL
    left: Callable[[], None]  # called once when the stream has ended


class Carrier:
    """Its thread starts with the first stream, so after any fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._streams: set[_Stream] = set()
        self._has_come = False  # something, since the round began
        self._left: list[_Stream] = []  # of the round that goes on
        self._next: asyncio.TimerHandle | None = None

    def take(self, handed: Handed) -> None:
        """Carry a stream from here on."""
        with self._lock:
            if self._thread is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="live-carrier", daemon=True)
                self._thread.start()
            loop = self._loop
        assert loop
        asyncio.run_coroutine_threadsafe(self._begin(handed), loop)

    def wake(self) -> None:
        """Something has come for some of the clients. From any thread, and from a signal handler."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self._plan)

    def wait_ended(self, seconds: float) -> None:
        """Wait until every stream has ended, after their clients were told; then end the thread."""
        until_s = time.monotonic() + seconds
        while self._streams and time.monotonic() < until_s:
            time.sleep(0.01)
        if self._loop is not None and self._thread is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(seconds)

    def forget(self, stream: "_Stream") -> None:
        """It has ended."""
        self._streams.discard(stream)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = [loop.create_task(self._beat()), loop.create_task(self._look())]
        loop.run_forever()
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    async def _begin(self, handed: Handed) -> None:
        stream = _Stream(self, handed)
        self._streams.add(stream)
        try:
            handed.connection.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, handed.connection)
        except OSError as exc:  # it went away meanwhile
            stream.connection_lost(exc)
            handed.connection.close()

    def _plan(self) -> None:
        self._has_come = True
        if self._next is None:
            self._go_on()

    def _go_on(self) -> None:
        """Write to the next few of the round, and go on after a pause, until all is said; a pause also ends a round."""
        loop = asyncio.get_running_loop()
        if not self._left:
            self._left, self._has_come = list(self._streams) if self._has_come else [], False
        if not self._left:
            self._next = None
            return
        began_s = loop.time()
        for _ in range(min(STREAMS_AT_ONCE, len(self._left))):
            self._left.pop().flush()
        self._next = loop.call_later(min(PAUSE_MOST_S, PAUSE * (loop.time() - began_s)), self._go_on)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for stream in list(self._streams):
                stream.beat()

    async def _look(self) -> None:
        """Keys are looked up in another thread: PostgreSQL may be slow, and streams must not wait for it."""
        while True:
            await asyncio.sleep(LOOK_S)
            for stream in await asyncio.to_thread(_without_key, list(self._streams)):
                stream.end()


class _Stream(asyncio.Protocol):
    """One response, from where its thread left it."""

    def __init__(self, carrier: Carrier, handed: Handed) -> None:
        self._carrier, self._client, self._chunked = carrier, handed.client, handed.chunked
        self.lost, self._left = handed.lost, handed.left
        self._transport: asyncio.Transport | None = None
        self._is_full = self._is_over = False
        self._sent_s = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has the socket; what came meanwhile is in the queue."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=BUFFERED_BYTES)
        self.flush()

    def pause_writing(self) -> None:
        """The client does not read: what comes stays in its queue, which has an end."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_full = False
        self.flush()

    def eof_received(self) -> bool:
        """A listener that has closed its end listens no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """However it ended."""
        self._is_over = True
        if self in self._carrier._streams:
            self._carrier.forget(self)
            self._left()

    def flush(self) -> None:
        """Write what has come."""
        if self._transport is None or self._is_over:
            return
        if self._client.too_slow:
            self.end(dropped().text)
        elif not self._is_full:
            texts: list[bytes] = []
            is_last = self._take_all(texts)
            self._write(b"".join(texts))
            if is_last:
                self.end()

    def _take_all(self, texts: list[bytes]) -> bool:
        """True where the hub has said that it is over."""
        try:
            while (text := self._client.take()) is not None:
                texts.append(text)
        except queue.Empty:
            return False
        return True

    def beat(self) -> None:
        """A comment where nothing was said for a while; it also finds out who has gone without a word."""
        if self._transport is not None and not self._is_full and time.monotonic() - self._sent_s >= HEARTBEAT_S:
            self._write(HEARTBEAT)

    def end(self, last: bytes = b"") -> None:
        """Say the last words, and close when they are read, or after some seconds."""
        if self._transport is None or self._is_over:
            return
        self._write(last)
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._is_over = True
        self._transport.close()
        asyncio.get_running_loop().call_later(GOODBYE_S, self._transport.abort)

    def _write(self, text: bytes) -> None:
        if not text or self._transport is None or self._is_over:
            return
        self._sent_s = time.monotonic()
        self._transport.write(b"%x\r\n%b\r\n" % (len(text), text) if self._chunked else text)


def _without_key(streams: list[_Stream]) -> list[_Stream]:
    return [stream for stream in streams if stream.lost()]
