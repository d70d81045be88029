"""Who asks at once shares an answer, and nobody gets one that began before they asked."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from common.errors import StoreUnavailable
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
