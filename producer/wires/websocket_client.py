"""A connection by websocket-client that reads ahead: one system call for many messages instead of three for each."""

import select
import socket
import ssl
from typing import Any, cast

import websocket

from common.errors import FeedUnavailable
from producer.rest import refusal
from producer.wire import CONNECT_TIMEOUT_S, MAX_MESSAGE_BYTES, close_reason

READ_BYTES = 65_536


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
        start, end = self._at, self._at + size
        while end > len(self._read):
            if size > MAX_MESSAGE_BYTES or self.unended > MAX_MESSAGE_BYTES:
                raise ConnectionError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
            more = self._sock.recv(READ_BYTES)
            if not more:
                raise ConnectionError("the venue hung up")
            self.unended += len(more)
            self._read = self._read[start:] + more
            start, end = 0, size
        self._at = end
        return self._read[start:end]

    def has_read(self) -> bool:
        """True if something waits that needs no system call."""
        return self._at < len(self._read)

    def ready(self, timeout_s: float) -> bool:
        """True once there is something to take; also where that would be the end of the connection."""
        if self.has_read() or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
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
        self.has_read, self.ready = ahead.has_read, ahead.ready

    def recv(self) -> bytes | None:
        """The next message, or None if it was a ping or pong.

        Raises:
            FeedUnavailable: the connection is gone.
        """
        try:
            opcode, payload = self._socket.recv_data(control_frame=True)
        except (websocket.WebSocketException, OSError) as exc:
            raise FeedUnavailable(f"the connection broke: {exc}") from exc
        if opcode == websocket.ABNF.OPCODE_TEXT or opcode == websocket.ABNF.OPCODE_BINARY:
            self._ahead.unended = 0
            return bytes(payload)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise FeedUnavailable(f"the venue closed the connection ({close_reason(payload)})")
        return None

    def close(self) -> None:
        """Close without waiting for the venue's answer."""
        try:
            self._socket.close(timeout=0)
        except (websocket.WebSocketException, OSError):
            cast(Any, self._socket).shutdown()
