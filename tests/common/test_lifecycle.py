"""Asked to stop by a signal, at any moment: a process that waits just then stops too."""

import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from common.lifecycle import Stop


@pytest.fixture
def alarms() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(60, method="thread")
def test_a_signal_in_the_middle_of_a_wait_is_heard(alarms: None) -> None:
    """With a threading.Event, the handler waited for the lock that the interrupted wait held: one of fifty hung for ever."""
    rng = random.Random(1)
    for _ in range(1_000):
        stop = Stop()
        signal.signal(signal.SIGALRM, lambda *_, stop=stop: stop.ask())
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 3e-4))
        while not stop.wait(1e-6):
            pass
        assert stop.requested()


def test_a_wait_ends_for_all_who_wait_and_stays_over() -> None:
    stop, ended = Stop(), []
    waiting = [threading.Thread(target=lambda: ended.append(stop.wait(60)), daemon=True) for _ in range(5)]
    for thread in waiting:
        thread.start()
    stop.ask()
    for thread in waiting:
        thread.join(60)
    stop.ask()
    assert ended == [True] * 5 and stop.wait(60) and stop.wait(-1)


def test_a_wait_that_nobody_ends_takes_its_time() -> None:
    stop, began_s = Stop(), time.monotonic()
    assert stop.wait(0.05) is False and stop.wait(0.0) is False and stop.wait(-1.0) is False
    assert time.monotonic() - began_s >= 0.05 and not stop.requested()
