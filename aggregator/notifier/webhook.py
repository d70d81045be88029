"""One POST of a webhook: to the very address that was judged, bounded in time and size, no redirect followed."""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from aggregator.notifier.schedule import Answer, judge_status
from common.egress import Lookup, check_address, resolve
from common.errors import ReceiverRejected
from common.receivers import Target

#: Addresses of one name that are tried.
ADDRESSES = 3
FAULTS = (HTTPError, http.client.HTTPException, OSError)


class Wire:
    """The connection of an attempt as another thread sees it: `cut` ends it whatever it is doing."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.is_cut = False

    def hold(self, connected: socket.socket) -> None:
        """Remember a connection. A duplicate, because TLS takes the first one away while it shakes hands."""
        self._socket = connected.dup()
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """End it."""
        self.is_cut = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself

    def close(self) -> None:
        """Give back what was held."""
        if self._socket is not None:
            self._socket.close()


class _Pinned:
    """A connection that `open_socket` makes; the name of the host stays what it was for Host, SNI and certificate."""

    open_socket: Callable[[], socket.socket]

    def _new_conn(self) -> socket.socket:
        return self.open_socket()


class _PinnedHTTP(_Pinned, HTTPConnection):
    pass


class _PinnedHTTPS(_Pinned, HTTPSConnection):
    pass


class Poster:
    """Posts; `lookup` and `trust` are the system's own unless given."""

    def __init__(
        self, allow_private: bool, timeout_s: float, lookup: Lookup = socket.getaddrinfo, trust: ssl.SSLContext | None = None
    ) -> None:
        self._allow_private, self._timeout_s, self._lookup = allow_private, timeout_s, lookup
        self._trust = trust or ssl.create_default_context()

    def post(self, target: Target, headers: dict[str, str], body: bytes, wire: Wire) -> Answer:
        """Send a body once and tell what came of it."""
        end_s = time.monotonic() + self._timeout_s
        try:
            addresses = resolve(target.host, target.port, self._allow_private, self._lookup)
        except ReceiverRejected as exc:
            return Answer("refused", str(exc))
        except OSError:
            return Answer("failed", f"{target.host} can not be resolved now")
        connection = self._connection(target)
        connection.open_socket = lambda: self._connect(addresses, target.port, end_s, wire)
        try:
            return self._exchange(connection, target, headers, body)
        except ReceiverRejected as exc:
            return Answer("refused", str(exc))
        except FAULTS as exc:
            late = wire.is_cut or isinstance(exc, TimeoutError) or time.monotonic() >= end_s
            return Answer("failed", f"no answer within {self._timeout_s:g} s" if late else _sentence(exc))
        finally:
            connection.close()
            wire.close()

    def _connection(self, target: Target) -> Any:
        if not target.tls:
            return _PinnedHTTP(target.host, target.port, timeout=self._timeout_s)
        return _PinnedHTTPS(target.host, target.port, timeout=self._timeout_s, ssl_context=self._trust)

    def _connect(self, addresses: list[str], port: int, end_s: float, wire: Wire) -> socket.socket:
        """The first address that takes a connection; each may have its share of the time that is left."""
        tried = addresses[:ADDRESSES]
        for number, address in enumerate(tried, 1):
            left_s = max(0.05, end_s - time.monotonic()) / (len(tried) - number + 1)
            try:
                connected = socket.create_connection((address, port), left_s)
            except OSError:
                if number == len(tried):
                    raise
                continue
            wire.hold(connected)
            try:
                check_address(connected.getpeername()[0], self._allow_private)
            except ReceiverRejected:
                connected.close()
                raise
            connected.settimeout(max(0.05, end_s - time.monotonic()))
            return connected
        raise OSError("the name has no address")

    def _exchange(self, connection: Any, target: Target, headers: dict[str, str], body: bytes) -> Answer:
        connection.request("POST", target.path, body, headers, preload_content=False, decode_content=False)
        response = connection.getresponse()
        response.close()  # its body says nothing that we need, however long it is
        return judge_status(response.status, response.headers.get("Retry-After"), datetime.now(UTC))


def _sentence(exc: BaseException) -> str:
    """What went wrong, without any part of the URL: the library's own sentences name it."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower() if not isinstance(cause, ssl.SSLError) else f"TLS failed: {cause.reason}"
        cause = cause.__cause__ or cause.__context__
    return f"the connection failed: {type(exc).__name__}"
