"""A connection by websocket-client that reads ahead: one system call for many messages instead of three for each.

Messages that came whole, a plain frame each, are taken from what was read; the library sees every other frame.
"""

import select
import socket
import ssl
from typing import Any, cast

import websocket

from common.errors import FeedUnavailable
from producer.rest import refusal
from producer.wire import CONNECT_TIMEOUT_S, MAX_MESSAGE_BYTES, close_reason

READ_BYTES = 65_536
PLAIN = 0x81  # the first byte of a text message in one frame
LONG = 126  # instead of a length, which is in the next two bytes then


class _ReadAhead:
    """What websocket-client takes its frames from: asked for 2, 2 and n bytes a message, it answers from what it has read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._read, self._at = sock, b"", 0
        self.unended = 0  # bytes read since the last message was whole
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            OSError: the connection is gone, or silent in the middle of a frame, or the message is too long.
        """
        while self._at + size > len(self._read):
            self._read_on(size)
        start, self._at = self._at, self._at + size
        return self._read[start : self._at]

    def plain(self, most: int) -> list[bytes]:
        """The messages that come next, are plain frames and have been read whole: at most so many.

        Raises:
            OSError: the connection is gone.
        """
        if self._at == len(self._read):
            self._read_on(0)
        read, at = self._read, self._at
        found: list[bytes] = []
        last = len(read) - 4
        while at <= last and read[at] == PLAIN and len(found) < most:
            size, start = read[at + 1], at + 2
            if size >= LONG:
                if size > LONG:  # longer still, or masked
                    break
                size, start = read[at + 2] << 8 | read[at + 3], at + 4
            if start + size > len(read):
                break
            at = start + size
            found.append(read[start:at])
        if found:
            self._at, self.unended = at, 0
        return found

    def _read_on(self, size: int) -> None:
        if max(size, self.unended) > MAX_MESSAGE_BYTES:
            raise ConnectionError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
        more = self._sock.recv(READ_BYTES)
        if not more:
            raise ConnectionError("the venue hung up")
        self.unended += len(more)
        self._read, self._at = self._read[self._at :] + more, 0

    def ready(self, timeout_s: float) -> bool:
        """True once there is something to take; also where that would be the end of the connection."""
        if self._at < len(self._read) or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            return True
        return bool(self._poll.poll(timeout_s * 1000))


class WebsocketClientWire:
    """A `Wire`; it runs in the thread that calls."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            FeedUnavailable: not now; FeedRejected: the venue refuses this address.
        """
        try:
            self._socket = websocket.create_connection(
                url, timeout=CONNECT_TIMEOUT_S, skip_utf8_validation=True, enable_multithread=False
            )
        except websocket.WebSocketBadStatusException as exc:
            raise refusal(exc.status_code, str(exc)) from exc
        except (websocket.WebSocketException, OSError, ValueError) as exc:
            raise FeedUnavailable(f"can not connect: {exc}") from exc
        self._ahead = ahead = _ReadAhead(cast(socket.socket, self._socket.sock))
        # The library's own reader makes three system calls a message and costs twice as much as all else we do with it.
        cast(Any, self._socket.frame_buffer).recv_strict = ahead.take
        self.ready = ahead.ready
        self._between = True  # messages: the last frame was the end of one

    def recv(self, most: int) -> list[bytes]:
        """The messages that have been read; else the next one, or none if that is a ping or pong.

        Raises:
            FeedUnavailable: the connection is gone.
        """
        try:
            return (self._between and self._ahead.plain(most)) or self._next()
        except (websocket.WebSocketException, OSError) as exc:
            raise FeedUnavailable(f"the connection broke: {exc}") from exc

    def _next(self) -> list[bytes]:
        """What the library makes of the next frames."""
        self._between = False
        opcode, payload = self._socket.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_TEXT or opcode == websocket.ABNF.OPCODE_BINARY:
            self._ahead.unended, self._between = 0, True
            return [bytes(payload)]
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise FeedUnavailable(f"the venue closed the connection ({close_reason(payload)})")
        return []

    def close(self) -> None:
        """Close without waiting for the venue's answer."""
        try:
            self._socket.close(timeout=0)
        except (websocket.WebSocketException, OSError):
            cast(Any, self._socket).shutdown()
