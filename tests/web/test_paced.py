"""A client's socket: patience is used up by waiting alone, and won back by bytes."""

import socket
from collections.abc import Iterator

import pytest

from web import paced as paced_module
from web.paced import PACE_BYTES_PER_S, PacedSocket, paced


@pytest.fixture
def pair() -> Iterator[tuple[PacedSocket, socket.socket]]:
    """Ours, with a tenth of a second of patience, and the client's."""
    ours, theirs = socket.socketpair()
    own = paced(ours, 0.1)
    own.begin()
    yield own, theirs
    own.close()
    theirs.close()


def test_who_says_nothing_is_gone(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, _ = pair
    with pytest.raises(ConnectionResetError, match="sends too slowly"):
        own.recv(10)
    with pytest.raises(ConnectionResetError):
        own.recv(10)


def test_a_byte_now_and_then_is_too_slow_and_a_new_request_begins_anew(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, theirs = pair
    own._left_s = 0.01
    theirs.sendall(b"x")
    assert own.recv(10) == b"x"
    assert own._left_s <= 0.01 + 1 / PACE_BYTES_PER_S
    with pytest.raises(ConnectionResetError):
        own.recv(10)
    own.begin()
    theirs.sendall(b"y")
    assert own.recv(10) == b"y"


def test_many_bytes_win_patience_back_up_to_all_of_it(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, theirs = pair
    own._left_s = 0.01
    theirs.sendall(b"x" * PACE_BYTES_PER_S)
    own.recv(PACE_BYTES_PER_S)
    assert own._left_s == 0.1


def test_a_shorter_limit_of_the_server_stays_its_own(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, _ = pair
    own._left_s = 60
    own.settimeout(0.01)
    with pytest.raises(TimeoutError):
        own.recv(10)
    assert own.gettimeout() == 0.01
    own.setblocking(False)
    with pytest.raises(BlockingIOError):
        own.recv(10)


def test_who_does_not_take_an_answer_is_gone(pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    own, _ = pair
    monkeypatch.setattr(paced_module, "TAKES_S", 0.0)
    monkeypatch.setattr(paced_module, "PACE_BYTES_PER_S", 1 << 30)
    with pytest.raises(ConnectionResetError, match="takes too slowly"):
        own.sendall(b"x" * (16 << 20))
