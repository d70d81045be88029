"""A client's socket that bounds patience: who sends or takes too slowly counts as gone, and its thread is free again."""

import errno
import socket
import time
from typing import Any

#: What a client has to send, and to take, to keep our patience. Apache's mod_reqtimeout counts the same way.
PACE_BYTES_PER_S = 4_096
#: Seconds a client may take to read one piece of an answer; a large piece more, by the same pace.
TAKES_S = 60.0


class PacedSocket(socket.socket):
    """Only waiting counts: what the web itself needs between two reads costs a client nothing."""

    patience_s = 20.0  # that a client may keep us waiting in one request; more only as it sends
    _left_s = 0.0

    def begin(self) -> None:
        """A request begins: its client has all of the patience."""
        self._left_s = self.patience_s

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Raises: ConnectionResetError where patience is over."""
        limit_s = self.gettimeout()
        if limit_s == 0.0 or flags:
            return super().recv(size, flags)
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
        waited_s = time.monotonic() - began_s
        self._left_s = min(self.patience_s, self._left_s - waited_s + len(came) / PACE_BYTES_PER_S)
        return came

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Raises: ConnectionResetError where the client does not take it in time."""
        self.settimeout(TAKES_S + len(data) / PACE_BYTES_PER_S)
        try:
            super().sendall(data, flags)
        except TimeoutError as exc:
            raise _gone("takes") from exc
        finally:
            self.settimeout(None)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As `sendall`, of a file."""
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
    return made


def _gone(does: str) -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, f"the client {does} too slowly")
