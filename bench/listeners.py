"""Many listeners of `/api/stream` in one process: raw sockets and one selector, so that they cost little themselves."""

import re
import selectors
import socket
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

RECEIVED_BYTES = 1 << 18
_TAIL = 64  # of what came last, for what lies over the edge of two receives
_EVENT = b"\nevent: "
_DROPPED = re.compile(rb'event: dropped\ndata: \{"reason":"([^"]*)')
_ID = re.compile(rb"\nid: (\d+)-\d+\n")


class Listener:
    """One stream: how many events came, and why it ended."""

    def __init__(self, port: int, query: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(f"GET /api/stream{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        head = self.socket.recv(RECEIVED_BYTES)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"a live stream was refused: {head[:300]!r}")
        self.socket.setblocking(False)
        self.events = self.received = 0
        self.ended: str | None = None
        self.tail = b""

    def read(self) -> bytes:
        """What is there; at the end of the stream its reason is noted."""
        try:
            came = self.socket.recv(RECEIVED_BYTES)
        except BlockingIOError:
            return b""
        except OSError as exc:
            came, self.ended = b"", str(exc)
        if not came:
            self.ended = self.ended or "closed by the web"
            return b""
        text, before = self.tail + came, self.tail.count(_EVENT)
        self.events += text.count(_EVENT) - before
        self.received += len(came)
        self.tail = text[-_TAIL:]
        if dropped := _DROPPED.search(text):
            self.ended = f"dropped: {dropped[1].decode()}"
        return came


def listen(port: int, clients: int, query: str, orders: Connection) -> None:
    """The process. It answers "ready", then each order: "count" begins to count anew, "tell" answers the figures, "end" ends."""
    selector = selectors.DefaultSelector()
    listeners = [Listener(port, query) for _ in range(clients)]
    for listener in listeners:
        selector.register(listener.socket, selectors.EVENT_READ, listener)
    selector.register(orders, selectors.EVENT_READ)
    lags_ms: list[float] = []
    orders.send("ready")
    while True:
        for key, _ in selector.select():
            if key.data is None:
                order = orders.recv()
                if order == "end":
                    return
                if order == "count":
                    lags_ms = []
                    for listener in listeners:
                        listener.events = listener.received = 0
                else:
                    orders.send(_figures(listeners, lags_ms))
                continue
            came = key.data.read()
            if key.data.ended:
                selector.unregister(key.data.socket)
            elif key.data is listeners[0] or key.data is listeners[-1]:
                lags_ms += [time.time() * 1000 - int(found) for found in _ID.findall(came)]


def _figures(listeners: list[Listener], lags_ms: list[float]) -> dict[str, Any]:
    return {
        "events": [listener.events for listener in listeners],
        "received": sum(listener.received for listener in listeners),
        "ended": dict(Counter(listener.ended for listener in listeners if listener.ended)),
        "lags_ms": lags_ms,
    }
