"""A real HTTP(S) server that webhooks are sent to; it answers what a test says and remembers what came."""

import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What to answer; `drip` sends so many header bytes, one each 0.2 s, and never ends."""

    status: int = 204
    headers: dict[str, str] = {}  # noqa: RUF012
    wait_s: float = 0.0
    drip: int = 0


@dataclass
class Call:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def event_key(self) -> str:
        """Its event's id."""
        return self.headers["x-gems-event-id"]


class Server:
    """`reply` decides by the call; by default everything is taken."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self.reply: Callable[[Call], Reply] = lambda call: Reply()
        self.closing = threading.Event()
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/hook") -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def keys(self) -> list[str]:
        """Ids of the events that came, in order."""
        return [call.event_key for call in list(self.calls)]

    def close(self) -> None:
        """Stop listening."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def a_server(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """One that is gone at the end."""
    server = Server(tls)
    try:
        yield server
    finally:
        server.close()


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:
                return  # who sent it was killed half way: no message
            call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            server.calls.append(call)
            reply = server.reply(call)
            try:
                if server.closing.wait(reply.wait_s):
                    return
                if reply.drip:
                    self._drip(reply.drip)
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                return  # who asked has gone

        do_GET = do_POST

        def _drip(self, count: int) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(count):
                self.wfile.write(b"x")
                self.wfile.flush()
                if server.closing.wait(0.2):
                    return

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
