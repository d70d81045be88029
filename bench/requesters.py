"""Concurrent clients of one GET in one process: raw sockets, kept alive, and one selector: they cost little themselves."""

import re
import selectors
import socket
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from bench.report import spread

RECEIVED_BYTES = 1 << 18
#: An answer that takes longer is a fault.
LONGEST_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Asked(NamedTuple):
    """What the clients found: milliseconds of each request, wall and own CPU seconds, bytes of bodies."""

    took_ms: list[float]
    wall_s: float
    cpu_s: float
    body_bytes: int


class Requester:
    """One kept-alive connection that asks again as soon as it is answered."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._parts: list[bytes] = []
        self._missing = 0
        self.asked_s = 0.0

    def ask(self) -> None:
        """Send the request; its clock runs."""
        self._parts, self._missing, self.asked_s = [], -1, time.monotonic()
        self.socket.sendall(self._request)

    def read(self) -> int | None:
        """Bytes of the body once it is whole, None before.

        Raises:
            ConnectionError: the answer is not 200 with a length, or the connection was closed.
        """
        came = self.socket.recv(RECEIVED_BYTES)
        if not came:
            raise ConnectionError("the web closed a connection that was to be kept")
        if self._missing >= 0:
            self._missing -= len(came)
        else:
            self._read_head(came)
        return self._length if self._missing == 0 else None

    def _read_head(self, came: bytes) -> None:
        self._parts.append(came)
        text = b"".join(self._parts)
        end = text.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(text, 0, end)
        if not text.startswith(b"HTTP/1.1 200 ") or not length:
            raise ConnectionError(f"not 200 with a length: {text[:300]!r}")
        self._length = int(length[1])
        self._missing = self._length - (len(text) - end - 4)


def request(port: int, path: str, clients: int, warm_s: float, seconds: float, told: Connection) -> None:
    """The process: all clients for `warm_s`, then "began", then for `seconds`; it ends with an `Asked`, or the failure's text."""
    try:
        requesters = [Requester(port, path) for _ in range(clients)]
        selector = selectors.DefaultSelector()
        for requester in requesters:
            selector.register(requester.socket, selectors.EVENT_READ, requester)
            requester.ask()
        _turns(selector, warm_s)
        told.send("began")
        told.send(_turns(selector, seconds))
    except Exception as exc:
        told.send(f"{type(exc).__name__}: {exc}")


def _turns(selector: selectors.BaseSelector, seconds: float) -> Asked:
    """Who is answered asks again; what is under way at the end is not counted, what was at the beginning is."""
    took_ms, body_bytes = list[float](), 0
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    until_s = began_s + seconds
    while time.monotonic() < until_s:
        ready = selector.select(LONGEST_S)
        if not ready:
            raise TimeoutError(f"no answer within {LONGEST_S:g} s")
        for key, _ in ready:
            requester: Requester = key.data
            length = requester.read()
            if length is not None:
                took_ms.append((time.monotonic() - requester.asked_s) * 1000)
                body_bytes += length
                requester.ask()
    return Asked(took_ms, time.monotonic() - began_s, time.process_time() - began_cpu_s, body_bytes)


def figures(asked: Asked, used_s: dict[str, float]) -> dict[str, Any]:
    """Of one route: requests/s, ms, us of CPU a request by process, bytes of a body, the clients' part of a core."""
    count = len(asked.took_ms)
    each_us = {name: round(seconds / count * 1e6) for name, seconds in used_s.items()}
    return {
        "per_s": round(count / asked.wall_s, 1),
        "ms": spread(asked.took_ms),
        "cpu_us": {**each_us, "total": sum(each_us.values())},
        "body_bytes": round(asked.body_bytes / count),
        "clients_cores": round(asked.cpu_s / asked.wall_s, 2),
    }
