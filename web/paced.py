"""A client's socket that bounds patience: who sends or takes too slowly counts as gone, and its thread is free again."""

import errno
import socket
import struct
import time
from contextlib import suppress
from typing import Any

#: What a client has to send, and to take, to keep our patience. Apache's mod_reqtimeout counts the same way.
PACE_BYTES_PER_S = 4_096
#: How long a client that was answered is waited for, for its next request.
LINGER_MS = 5
_PIECE_BYTES = 8_192
#: Seconds a client may take to read one piece of an answer; a large piece more, by the same pace.
TAKES_S = 60.0


class PacedSocket(socket.socket):
    """Only waiting counts: what the web itself needs between two reads costs a client nothing."""

    patience_s = 20.0  # that a client may keep us waiting in one request; more only as it sends
    _left_s = 0.0
    _awaits_head, _head = False, b""

    def begin(self) -> None:
        """A request begins: its client has all of the patience."""
        self._left_s, self._awaits_head, self._head = self.patience_s, True, b""

    def finish(self) -> None:
        """The request is answered: a head without a body goes out, if the client is still there."""
        if self._head:
            with suppress(OSError):
                self.sendall(b"")

    def next_bytes(self) -> bytes:
        """What the client sends next, within `LINGER_MS`; empty if nothing comes."""
        if self.gettimeout() is not None:
            return b""
        try:
            return super().recv(_PIECE_BYTES)  # by SO_RCVTIMEO: a wait and a read in one call
        except OSError:
            return b""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Raises: ConnectionResetError where patience is over."""
        limit_s = self.gettimeout()
        if limit_s == 0.0 or flags:
            return super().recv(size, flags)
        if limit_s is None:
            with suppress(BlockingIOError):  # most often it is here already, and to set a limit takes longer than to read
                return self._credited(super().recv(size, socket.MSG_DONTWAIT), 0.0)
        wait_s = max(0.001, self._left_s if limit_s is None else min(limit_s, self._left_s))
        began_s = time.monotonic()
        self.settimeout(wait_s)
        try:
            came = super().recv(size)
        except TimeoutError as exc:
            self._left_s -= time.monotonic() - began_s
            if self._left_s > 0:
                raise  # the limit was the caller's
            raise _gone("sends") from exc
        finally:
            self.settimeout(limit_s)
        return self._credited(came, time.monotonic() - began_s)

    def _credited(self, came: bytes, waited_s: float) -> bytes:
        self._left_s = min(self.patience_s, self._left_s - waited_s + len(came) / PACE_BYTES_PER_S)
        return came

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """A head waits for its body, so that both go out in one piece.

        Raises:
            ConnectionResetError: the client does not take it in time.
        """
        if self._awaits_head and _is_head(data):
            self._head, self._awaits_head = data, False
            return
        pieces, self._head = [piece for piece in (self._head, data) if piece], b""
        sent, size = 0, sum(map(len, pieces))
        if self.gettimeout() is None:
            with suppress(BlockingIOError):
                sent = super().sendmsg(pieces, (), flags | socket.MSG_DONTWAIT)
        if sent < size:
            self._send_rest(b"".join(pieces)[sent:], flags)

    def _send_rest(self, rest: bytes, flags: int) -> None:
        self.settimeout(TAKES_S + len(rest) / PACE_BYTES_PER_S)
        try:
            super().sendall(rest, flags)
        except TimeoutError as exc:
            raise _gone("takes") from exc
        finally:
            self.settimeout(None)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As `sendall`, of a file."""
        self.finish()
        self.settimeout(TAKES_S)
        try:
            return super().sendfile(file, offset, count)
        except TimeoutError as exc:
            raise _gone("takes") from exc
        finally:
            self.settimeout(None)


def paced(client: socket.socket, patience_s: float) -> PacedSocket:
    """The same connection, paced; the given object has none after it."""
    made = PacedSocket(client.family, client.type, client.proto, client.detach())
    made.patience_s = patience_s
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, LINGER_MS * 1000))
    return made


def _is_head(data: bytes) -> bool:
    """Of an answer that is no interim one."""
    return data.startswith(b"HTTP/1.") and data[9:10] != b"1" and data.endswith(b"\r\n\r\n")


def _gone(does: str) -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, f"the client {does} too slowly")
