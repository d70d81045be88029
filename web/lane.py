"""Small answers, one after the other in one thread, for clients that ask again at once.

With a thread each they would hand the interpreter to each other at every system call, which costs more than to answer. Here
whoever was answered waits in one selector, and one thread of the pool, which leads, answers all that it finds there. It never
holds up the others: a leader that is stuck is replaced, and any other request goes back.
"""

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from common.log import get_logger
from web.repeated import Requests

#: GETs of them are answered here: they ask nobody, or what is shared by all who ask (`web.sharing`).
SMALL = frozenset({"/healthz", "/api/ingestion/stats/", "/api/ingestion/stats", "/api/v3/ping", "/api/v3/time"})
_SMALL_BYTES = frozenset(path.encode() for path in SMALL)
#: A client that is silent for longer goes back to the server's own poller.
LINGER_S = 0.05
#: Between two looks whether the leader gets on.
LOOK_S = 0.02
_HEAD_BYTES = 8_192

#: Monotonic seconds by which the request that this thread answers had come; None: just now.
CAME_S: ContextVar[float | None] = ContextVar("came_s", default=None)


log = get_logger(__name__)


class Connection(Protocol):
    """One kept-alive client."""

    sock: socket.socket
    parser: Requests


class Ways(NamedTuple):
    """What the server does with a connection; each may be called from any thread."""

    answer: Callable[[Any], bool]  # one request, whose head has come whole; True if the connection is kept
    take_up: Callable[[Any], None]  # a request that is no small one: its first bytes are unread
    rest: Callable[[Any, bool], None]  # nothing is asked any more; False: it is to be closed
    lead: Callable[[Callable[[], None]], None]  # run it in a thread of the pool


class Lane:
    """Its members are connections whose last request was a small one."""

    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._lock = threading.Lock()  # of all below; held for moments
        self._selector = selectors.DefaultSelector()
        self._last_s: dict[Connection, float] = {}  # when each member was answered
        self._ready: deque[Connection] = deque()  # members that have sent something
        self._came_s = 0.0  # by when they had
        self._turn = 0  # of the leader; another's is over
        self._answered: Connection | None = None  # by the leader, at this moment
        self._began_s = 0.0  # when it began with that
        self.is_led = False

    def join(self, conn: Connection) -> bool:
        """Become a member; True if nobody leads: then the caller calls `lead`."""
        with self._lock:
            self._selector.register(conn.sock, selectors.EVENT_READ, conn)
            self._last_s[conn] = time.monotonic()
            is_first, self.is_led = not self.is_led, True
            return is_first

    def lead(self) -> None:
        """Answer the members, until none is left or another leads. Raises nothing: it is nobody's request that fails here."""
        with self._lock:
            self._turn += 1
            turn = self._turn
        try:
            while (conn := self._next(turn)) is not None:
                self._answer(conn, turn)
        except Exception:  # a thread of the pool would drop it, and the members would wait for a leader for ever
            log.exception("small answers stop; %d connections are closed, and their clients come again", len(self._last_s))
            self._dissolve()

    def look(self, now_s: float) -> None:
        """To be called every `LOOK_S` while `is_led`: a leader that has been at one request for longer is replaced."""
        with self._lock:
            if self._answered is None or now_s - self._began_s < LOOK_S:
                return
            self._remove(self._answered)
            self._answered = None
            self._turn += 1
        self._ways.lead(self.lead)

    def _next(self, turn: int) -> Connection | None:
        """A member that has sent something; None once this thread leads no more."""
        while True:
            with self._lock:
                if turn != self._turn:
                    return None
                self._answered = conn = self._ready.popleft() if self._ready else None
                self._began_s = time.monotonic()
                self.is_led = bool(self._last_s)
            if conn or not self.is_led:
                return conn
            for idle in self._wait():
                self._ways.rest(idle, True)

    def _wait(self) -> list[Connection]:
        """Until something has come; answers the members that have been silent for long, and are none any more.

        Only the leader comes here, and while it waits nobody replaces it.
        """
        ready = [key.data for key, _ in self._selector.select(LINGER_S)]
        with self._lock:
            self._ready.extend(ready)
            self._came_s = time.monotonic()
            idle = [conn for conn, last_s in self._last_s.items() if self._came_s - last_s >= LINGER_S and conn not in ready]
            for conn in idle:
                self._remove(conn)
        return idle

    def _dissolve(self) -> None:
        with self._lock:
            left, self._last_s = list(self._last_s), {}
            self._selector.close()
            self._selector = selectors.DefaultSelector()
            self._ready.clear()
            self._answered, self.is_led = None, False
            self._turn += 1
        for conn in left:
            self._ways.rest(conn, False)

    def _answer(self, conn: Connection, turn: int) -> None:
        came = _received(conn.sock)
        if came is None:
            return
        if not is_small(came):
            self._let_go(conn, turn)
            self._give_back(conn, came)
            return
        conn.parser.take(came)
        is_kept = self._tried(conn)
        if not is_kept or not self._stays(conn, turn):
            self._let_go(conn, turn)
            self._ways.rest(conn, is_kept)

    def _give_back(self, conn: Connection, came: bytes) -> None:
        if not came:
            self._ways.rest(conn, False)
            return
        conn.parser.unreader.unread(came)
        self._ways.take_up(conn)

    def _stays(self, conn: Connection, turn: int) -> bool:
        """False where another leads meanwhile."""
        with self._lock:
            if turn == self._turn:
                self._last_s[conn] = time.monotonic()
            return turn == self._turn

    def _let_go(self, conn: Connection, turn: int) -> None:
        """It is no member; it was let go already where another leads."""
        with self._lock:
            if turn == self._turn:
                self._remove(conn)

    def _tried(self, conn: Connection) -> bool:
        token = CAME_S.set(self._came_s)
        try:
            return self._ways.answer(conn)
        except Exception:  # one request's fault, of any kind, is not the others'
            log.exception("a small request was not answered; its connection is closed")
            return False
        finally:
            CAME_S.reset(token)

    def _remove(self, conn: Connection) -> None:
        self._selector.unregister(conn.sock)
        del self._last_s[conn]


def _received(client: socket.socket) -> bytes | None:
    """What has come; empty at the end, None where nothing has."""
    try:
        return client.recv(_HEAD_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def is_small(came: bytes) -> bool:
    """True for one whole GET of a small answer, without a body: its parser waits for nothing more."""
    path = came[4 : came.find(b" ", 4)].partition(b"?")[0]
    if path not in _SMALL_BYTES or not came.startswith(b"GET ") or came.find(b"\r\n\r\n") != len(came) - 4:
        return False
    head = came.lower()
    return b"\ncontent-length" not in head and b"\ntransfer-encoding" not in head
