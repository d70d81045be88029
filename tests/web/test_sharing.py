"""Who asks at once shares an answer, and nobody gets one that began before they asked."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from common.errors import StoreUnavailable
from web.lane import CAME_S
from web.sharing import Shared


class Slow:
    """Answers its number, each time once it is let go."""

    def __init__(self) -> None:
        self.began, self.may_go = 0, threading.Semaphore(0)
        self.fails = False

    def __call__(self) -> str:
        self.began += 1
        number = self.began
        self.may_go.acquire(timeout=60)
        if self.fails:
            raise ValueError(number)
        return str(number)


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, for a minute at most."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def three_at_once(pool: ThreadPoolExecutor, slow: Slow, shared: Shared) -> list[Future[str]]:
    """One that is under way, and two that came after it had begun."""
    first = pool.submit(shared)
    until(lambda: slow.began == 1)
    others = [pool.submit(shared) for _ in range(2)]
    until(lambda: shared.sharing == 2)
    return [first, *others]


def test_who_comes_while_one_is_under_way_shares_the_next() -> None:
    slow = Slow()
    shared = Shared(slow, 60)
    with ThreadPoolExecutor(3) as pool:
        asked = three_at_once(pool, slow, shared)
        slow.may_go.release(2)
        assert [each.result(60) for each in asked] == ["1", "2", "2"]
    slow.may_go.release()
    assert shared() == "3"


def test_all_who_share_a_failure_are_told_and_the_next_asks_anew() -> None:
    slow = Slow()
    shared = Shared(slow, 60)
    with ThreadPoolExecutor(3) as pool:
        asked = three_at_once(pool, slow, shared)
        slow.fails = True
        slow.may_go.release(2)
        assert [str(each.exception(60)) for each in asked] == ["1", "2", "2"]
    slow.fails = False
    slow.may_go.release()
    assert shared() == "3"


def test_nobody_waits_for_ever_behind_one_that_is_not_answered() -> None:
    slow = Slow()
    shared = Shared(slow, 0.05)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(shared)
        until(lambda: slow.began == 1)
        for each in [pool.submit(shared) for _ in range(2)]:
            with pytest.raises(StoreUnavailable, match=r"within 0\.05 s"):
                each.result(60)
        slow.may_go.release()
    slow.may_go.release()
    assert shared() == "2"


def asked_by(came_s: float, shared: Shared) -> str:
    """The answer for a request that had come by then."""
    token = CAME_S.set(came_s)
    try:
        return shared()
    finally:
        CAME_S.reset(token)


def test_requests_that_came_together_share_one_question_that_began_after_them() -> None:
    slow = Slow()
    slow.may_go.release(9)
    shared = Shared(slow, 60)
    came_s = time.monotonic()
    assert [asked_by(came_s, shared) for _ in range(3)] == ["1", "1", "1"]
    assert asked_by(time.monotonic(), shared) == "2"  # that question began before this one came
    assert asked_by(came_s, shared) == "2"
    assert shared() == "3"


def test_the_time_that_counts_is_when_the_question_began() -> None:
    slow = Slow()
    shared = Shared(slow, 60)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared)
        until(lambda: slow.began == 1)
        came_s = time.monotonic()  # while it is under way: what it sees may be older
        slow.may_go.release(2)
        assert first.result(60) == "1"
    assert asked_by(came_s, shared) == "2"


def test_a_failure_is_nobodys_answer_later() -> None:
    slow = Slow()
    slow.may_go.release(9)
    shared = Shared(slow, 60)
    came_s = time.monotonic()
    slow.fails = True
    with pytest.raises(ValueError, match="1"):
        asked_by(came_s, shared)
    slow.fails = False
    assert asked_by(came_s, shared) == "2"
