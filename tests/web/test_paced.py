"""A client's socket: patience is used up by waiting alone, and won back by bytes."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def test_a_head_and_its_body_go_out_in_one_piece(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, theirs = pair
    theirs.setblocking(False)
    own.sendall(HEAD)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    own.sendall(b"ok")
    assert theirs.recv(100) == HEAD + b"ok"
    own.sendall(b"more")
    assert theirs.recv(100) == b"more"


def test_a_head_without_a_body_goes_out_at_the_end_and_an_interim_one_at_once(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, theirs = pair
    theirs.setblocking(False)
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    own.sendall(hints)
    assert theirs.recv(100) == hints
    own.sendall(HEAD)
    own.finish()
    assert theirs.recv(100) == HEAD
    own.finish()
    with pytest.raises(BlockingIOError):
        theirs.recv(100)


def test_a_client_that_asks_again_is_read_and_another_is_not_waited_for(
    pair: tuple[PacedSocket, socket.socket],
) -> None:
    own, theirs = pair
    assert own.next_bytes() == b""
    theirs.sendall(b"GET")
    assert own.next_bytes() == b"GET"
    theirs.close()
    assert own.next_bytes() == b""


def test_what_does_not_fit_at_once_is_sent_as_it_is_taken(pair: tuple[PacedSocket, socket.socket]) -> None:
    own, theirs = pair
    sent = bytes(range(256)) * (1 << 13)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: (own.sendall(HEAD), own.sendall(sent)))
        taken = b""
        while len(taken) < len(HEAD) + len(sent):
            taken += theirs.recv(1 << 20)
        sending.result(60)
    assert taken == HEAD + sent
