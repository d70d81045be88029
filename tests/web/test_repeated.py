"""A head that is repeated is not parsed again, and no request is ever taken for another."""

import socket
import time
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from web.repeated import Requests

ONE = b"GET /one HTTP/1.1\r\nHost: here\r\n\r\n"
TWO = b"GET /two HTTP/1.1\r\nHost: here\r\n\r\n"
POSTED = b"POST /posted HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"


class Ends:
    """A parser, and the client whose requests it reads."""

    def __init__(self) -> None:
        ours, self.client = socket.socketpair()
        self.ours = ours
        self.requests = Requests(Config(), ours, ("127.0.0.1", 1))

    def taken(self, came: bytes) -> str:
        """The path of a request that is told whole."""
        self.requests.take(came)
        return str(next(self.requests).path)

    def read(self, sent: bytes) -> str:
        """The path of a request that the parser reads by itself."""
        self.client.sendall(sent)
        return str(next(self.requests).path)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.ours.close()
    made.client.close()


def test_the_same_bytes_are_the_same_request(ends: Ends) -> None:
    assert ends.taken(ONE) == "/one"
    first = ends.requests.mesg
    assert ends.taken(ONE) == "/one" and ends.requests.mesg is first
    assert first.body.read() == b""
    assert ends.taken(TWO) == "/two" and ends.taken(ONE) == "/one"


def test_what_was_read_in_between_is_never_taken_for_it(ends: Ends) -> None:
    assert [ends.taken(ONE), ends.read(TWO), ends.taken(ONE), ends.taken(ONE), ends.read(TWO), ends.read(ONE)] == [
        "/one", "/two", "/one", "/one", "/two", "/one",
    ]  # fmt: skip
    assert [ends.read(TWO), ends.read(TWO), ends.taken(TWO)] == ["/two"] * 3


def test_a_body_that_nobody_read_is_skipped_and_one_that_is_late_is_waited_for(ends: Ends) -> None:
    assert ends.read(POSTED + b"body" + ONE) == "/posted"
    assert ends.requests.finish_body(time.monotonic() + 60) is True
    assert next(ends.requests).path == "/one"
    assert ends.read(POSTED + b"bo") == "/posted"
    assert ends.requests.finish_body(time.monotonic() + 0.01) is False


def test_half_a_body_that_was_read_leaves_the_other_half_to_skip(ends: Ends) -> None:
    assert ends.read(POSTED + b"body" + ONE) == "/posted"
    assert ends.requests.mesg.body.read(1) == b"b"
    assert ends.requests.finish_body() is True
    assert next(ends.requests).path == "/one"
