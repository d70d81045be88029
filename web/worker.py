"""gunicorn's threaded worker, where its threads are worth more than to wait: for a first byte, a slow client, a last goodbye.

A live stream leaves its thread as soon as it has caught up: `web.carrier` carries all of them in one. So does a client of small
answers: `web.lane` gives them one after the other.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from web.carrier import HANDS_OVER, HandedOver
from web.lane import LOOK_S, SMALL, Lane, Ways
from web.paced import paced
from web.repeated import Requests

#: Seconds that a connection we have closed may take to close its own end (RFC 9112, 9.6).
GOODBYE_S = 2.0
_DRAINED_BYTES = 1 << 16
_HANDED_OVER, _IN_LANE = object(), object()


class Worker(ThreadWorker):
    """One process; a thread a request, from its first byte to its last."""

    wsgi: Any

    def load_wsgi(self) -> None:
        """Tell the app that a response may be handed over."""
        super().load_wsgi()
        app = self.wsgi
        self._hub = app.extensions["gems.hub"]
        self._patience_s = app.extensions["gems.stores"].settings.web_patience_s
        self._leaving: deque[TConn] = deque()
        self._lane = Lane(Ways(self._serve, self._take_up, self._rest, self._lead))

        def marked(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            environ[HANDS_OVER] = True
            answered: Iterable[bytes] = app(environ, start_response)
            return answered

        self.wsgi = marked

    def accept(self, listener: socket.socket) -> None:
        """A new connection waits in the poller: one that never says a word holds no thread."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, paced(client, self._patience_s), address, listener.getsockname())
        conn.parser = Requests(self.cfg, conn.sock, address)
        conn.timeout = time.monotonic() + self._patience_s  # for a first byte
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> Any:
        """Serve a request in a thread of the pool, and those that follow it at once."""
        try:
            is_kept = self._serve(conn)
            while is_kept is True:
                if self._joins_lane(conn):
                    return _IN_LANE
                if not self._asks_again(conn):
                    break
                is_kept = self._serve(conn)
            return is_kept
        except HandedOver:
            return _HANDED_OVER

    def _serve(self, conn: TConn) -> Any:
        conn.sock.begin()
        is_kept = super().handle(conn)
        conn.sock.finish()
        return is_kept

    def _joins_lane(self, conn: TConn) -> bool:
        """After a small answer the lane has the connection, and this thread leads it if nobody does."""
        request = conn.parser.mesg
        if request.method != "GET" or request.path not in SMALL or conn.parser.unreader.buf.getvalue():
            return False
        if self._lane.join(conn):
            self.method_queue.defer(lambda: None)  # the main loop looks after it from now on
            self._lane.lead()
        return True

    def _take_up(self, conn: TConn) -> None:
        self.method_queue.defer(self.enqueue_req, conn)

    def _rest(self, conn: TConn, is_kept: bool) -> None:
        done: Future[bool] = Future()
        done.set_result(is_kept)
        self.method_queue.defer(self.finish_request, conn, done)

    def _lead(self, lead: Callable[[], None]) -> None:
        self.tpool.submit(lead)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As gunicorn does; and whoever leads the lane is looked after."""
        super().wait_for_and_dispatch_events(min(timeout, LOOK_S) if self._lane.is_led else timeout)
        self._lane.look(time.monotonic())

    def _asks_again(self, conn: TConn) -> bool:
        """The client's next request has come within a moment, and nobody else waits for this thread: to give a connection back
        to the poller, and to take it up in another thread, costs more than a small answer."""
        if not self.alive or conn.parser.unreader.buf.getvalue() or not self.tpool._work_queue.empty():
            return False
        came = conn.sock.next_bytes()
        conn.parser.unreader.unread(came)
        return bool(came)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """What becomes of the connection; the main loop waits for nobody here."""
        if fs.cancelled() or fs.exception() or not fs.result():
            self._take_leave(conn)
        elif fs.result() is _HANDED_OVER:
            self.nr_conns -= 1
        elif fs.result() is not _IN_LANE:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        """Also of those who were told goodbye and do not go; called every second at least."""
        super().murder_pending()
        while self._leaving and self._leaving[0].timeout <= time.monotonic():
            self._gone(self._leaving[0])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM ends the live streams first, so that nothing waits for them."""
        self._hub.close()
        super().handle_exit(sig, frame)

    def run(self) -> None:
        """Until it is told to stop; the live streams have had their last bytes then."""
        try:
            super().run()
        finally:
            self._hub.close()
            self._hub.wait_ended(1.0)

    def _take_leave(self, conn: TConn) -> None:
        """Close our end, and read on in the poller until the client has closed its own: else it might lose our last words."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError, KeyError):
            self.nr_conns -= 1
            conn.close()
            return
        conn.timeout, conn.drained = time.monotonic() + GOODBYE_S, 0
        self._leaving.append(conn)

    def _drain(self, conn: TConn, client: socket.socket) -> None:
        try:
            came = client.recv(_DRAINED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            came = b""
        conn.drained += len(came)
        if not came or conn.drained >= _DRAINED_BYTES:
            self._gone(conn)

    def _gone(self, conn: TConn) -> None:
        self._leaving.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
