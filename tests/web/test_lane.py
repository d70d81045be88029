"""Small answers one after the other: in order, by one thread that holds nobody up, and nothing else is answered there."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from web.lane import CAME_S, LINGER_S, LOOK_S, Lane, Ways, is_small

ASKS = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
STATS = b"GET /api/ingestion/stats/?x=1 HTTP/1.1\r\nHost: here\r\n\r\n"
BARS = b"GET /api/ingestion/bars/?symbol=X HTTP/1.1\r\nHost: here\r\n\r\n"


class Taken:
    """What a connection's parser is given."""

    def __init__(self) -> None:
        self.unreader = self
        self.taken: list[bytes] = []
        self.given_back: list[bytes] = []

    def take(self, came: bytes) -> None:
        """A small request."""
        self.taken.append(came)

    def unread(self, came: bytes) -> None:
        """Another one."""
        self.given_back.append(came)


class Conn:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.sock, self.client = socket.socketpair()
        self.parser = Taken()


class Said(NamedTuple):
    """What became of a connection."""

    what: str
    conn: Conn


class Served:
    """A lane whose server writes down what it is told; answers wait while `may_go` is cleared."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.came_s: list[float] = []
        self.threads: list[threading.Thread] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.is_kept = True
        self.lane = Lane(Ways(self._answer, self._note("taken up"), self._rest, self._lead))

    def _answer(self, conn: Conn) -> bool:
        self.said.append(Said("asked", conn))
        self.came_s.append(CAME_S.get() or 0.0)
        assert self.may_go.wait(60)
        if conn.parser.taken[-1] == STATS and not self.is_kept:
            raise ValueError("a bug")
        conn.sock.sendall(b"answer")
        return True

    def _note(self, what: str) -> Callable[[Conn], None]:
        return lambda conn: self.said.append(Said(what, conn))

    def _rest(self, conn: Conn, is_kept: bool) -> None:
        self.said.append(Said("kept" if is_kept else "closed", conn))

    def _lead(self, lead: Callable[[], None]) -> None:
        thread = threading.Thread(target=lead, daemon=True)
        self.threads.append(thread)
        thread.start()

    def enter(self, count: int) -> list[Conn]:
        """So many connections that have just been answered; nobody leads yet."""
        conns = [Conn() for _ in range(count)]
        for conn in conns:
            self.lane.join(conn)  # type: ignore[arg-type]
        return conns

    def of(self, what: str) -> list[Conn]:
        """Whom that became of, in order."""
        return [conn for said, conn in self.said if said == what]


@pytest.fixture
def served() -> Iterator[Served]:
    """A lane that has no member left at the end, and threads that have ended."""
    made = Served()
    yield made
    made.may_go.set()
    for thread in made.threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not made.lane.is_led


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, for a minute at most."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_all_that_have_asked_are_answered_by_the_thread_that_leads(served: Served) -> None:
    conns = served.enter(5)
    for conn in conns:
        conn.client.sendall(ASKS)
    served.lane.lead()
    assert set(served.of("asked")) == set(conns) and len(served.of("asked")) == 5
    assert [conn.client.recv(100) for conn in conns] == [b"answer"] * 5
    assert all(conn.parser.taken == [ASKS] for conn in conns)
    assert served.of("kept") == conns  # silent for a while, all go back


def test_what_has_come_together_has_come_before_the_first_is_answered(served: Served) -> None:
    for conn in served.enter(3):
        conn.client.sendall(ASKS)
    before_s = time.monotonic()
    served.lane.lead()
    assert len(set(served.came_s)) == 1 and before_s <= served.came_s[0] <= time.monotonic()


def test_only_the_first_is_told_to_lead(served: Served) -> None:
    assert [served.lane.join(conn) for conn in (Conn(), Conn())] == [True, False]  # type: ignore[arg-type]
    served.lane.lead()
    assert served.lane.join(Conn())  # type: ignore[arg-type]
    served.lane.lead()


def test_another_request_goes_back_with_all_its_bytes(served: Served) -> None:
    (conn,) = served.enter(1)
    conn.client.sendall(BARS)
    served.lane.lead()
    assert (served.said, conn.parser.given_back) == ([Said("taken up", conn)], [BARS])


def test_a_client_that_has_gone_is_closed(served: Served) -> None:
    gone, other = served.enter(2)
    other.client.sendall(ASKS)
    gone.client.close()
    served.lane.lead()
    assert (served.of("closed"), served.of("asked"), served.of("kept")) == ([gone], [other], [other])


def test_a_silent_one_goes_back_while_others_ask_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour counts for a while here: however late this thread has its turn, the other is not silent for so long."""
    monkeypatch.setattr("web.lane.LINGER_S", 3600.0)
    silent, busy = served.enter(2)
    served.lane._last_s[silent] -= 3600.0  # type: ignore[index]
    busy.client.sendall(ASKS)
    served._lead(served.lane.lead)
    assert busy.client.recv(100) == b"answer"
    assert served.of("kept") == [silent]
    busy.client.sendall(ASKS)
    assert busy.client.recv(100) == b"answer"
    busy.client.close()
    until(lambda: served.of("closed") == [busy])
    assert served.of("kept") == [silent]


def test_one_that_is_stuck_holds_nobody_up(served: Served) -> None:
    stuck, other = served.enter(2)
    served.may_go.clear()
    stuck.client.sendall(ASKS)
    served._lead(served.lane.lead)
    until(lambda: served.of("asked") == [stuck])
    other.client.sendall(ASKS)
    served.lane.look(served.lane._began_s + LOOK_S / 2)
    assert len(served.threads) == 1  # not yet
    served.lane.look(served.lane._began_s + LOOK_S * 1.5)
    until(lambda: served.of("asked") == [stuck, other])  # by a second thread: the first still waits
    assert len(served.threads) == 2
    served.may_go.set()
    assert [conn.client.recv(100) for conn in (stuck, other)] == [b"answer"] * 2
    until(lambda: set(served.of("kept")) == {stuck, other})
    assert len(served.of("kept")) == 2


def test_what_came_with_a_stuck_one_is_answered_by_the_next(served: Served) -> None:
    conns = served.enter(4)
    for conn in conns:
        conn.client.sendall(ASKS)
    served.may_go.clear()
    served._lead(served.lane.lead)
    for count in (1, 2, 3):
        until(lambda count=count: len(served.of("asked")) == count)  # type: ignore[misc]
        served.lane.look(time.monotonic() + LOOK_S)
    served.may_go.set()
    assert [conn.client.recv(100) for conn in conns] == [b"answer"] * 4
    until(lambda: len(served.of("kept")) == 4 and not served.lane.is_led)
    assert len(served.of("asked")) == 4 and len(set(served.of("kept"))) == len(served.of("kept")) == 4


def test_a_leader_that_waits_for_requests_is_not_stuck(served: Served) -> None:
    served.enter(1)
    served._lead(served.lane.lead)
    until(lambda: served.lane._turn == 1)
    served.lane.look(time.monotonic() + LINGER_S)
    assert len(served.threads) == 1


def test_a_bug_in_an_answer_closes_that_connection_alone(served: Served) -> None:
    served.is_kept = False
    bad, good = served.enter(2)
    bad.client.sendall(STATS)
    good.client.sendall(ASKS)
    served.lane.lead()
    assert (served.of("closed"), served.of("kept")) == ([bad], [good])


def test_a_lane_that_breaks_lets_all_go_and_begins_anew(served: Served) -> None:
    conns = served.enter(2)
    served.lane._selector.close()
    served.lane.lead()
    assert served.of("closed") == conns and not served.lane.is_led
    (conn,) = served.enter(1)
    conn.client.sendall(ASKS)
    served.lane.lead()
    assert (conn.client.recv(100), served.of("kept")) == (b"answer", [conn])


@pytest.mark.parametrize("came", [ASKS, STATS, b"GET /api/v3/time HTTP/1.1\r\nX-A: 1\r\nX-B: 2\r\n\r\n"])
def test_small(came: bytes) -> None:
    assert is_small(came)


@pytest.mark.parametrize(
    "came",
    [
        b"",
        b"GET ",
        b"GET /healthz",
        BARS,
        ASKS[:-1],  # its head is not whole
        ASKS + b"G",  # another has begun
        ASKS * 2,
        ASKS.replace(b"GET", b"PUT"),
        b"POST" + ASKS[3:],
        ASKS.replace(b"/healthz", b"/healthz/x"),
        ASKS.replace(b"\r\nHost", b"\r\nContent-Length: 3\r\nHost"),
        ASKS.replace(b"\r\nHost", b"\r\ncontent-length : 3\r\nHost"),
        ASKS.replace(b"\r\nHost", b"\r\nTRANSFER-ENCODING: chunked\r\nHost"),
    ],
)
def test_not_small(came: bytes) -> None:
    assert not is_small(came)
