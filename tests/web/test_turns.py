"""Who came first is first, never more than so many at once, and nobody waits for ever."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes.feeding import until
from web.turns import Turns


def test_they_go_in_the_order_in_which_they_came() -> None:
    turns, went = Turns(1, 60), list[int]()

    def go(number: int) -> None:
        with turns.one():
            went.append(number)

    with ThreadPoolExecutor(8) as pool, turns.one():
        for number in range(8):
            pool.submit(go, number)
            until(lambda number=number: turns.waiting == number + 1, "the next in the row")  # type: ignore[misc]
        assert went == []
    assert went == list(range(8))


def test_a_turn_that_is_given_back_goes_to_who_waits_and_not_to_who_comes() -> None:
    turns, went = Turns(1, 60), list[str]()

    def wait() -> None:
        with turns.one():
            went.append("waited")

    with ThreadPoolExecutor(1) as pool:
        with turns.one():
            pool.submit(wait)
            until(lambda: turns.waiting == 1, "one who waits")
        with turns.one():
            went.append("came")
    assert went == ["waited", "came"]


def test_who_waits_too_long_goes_on_without_a_turn_and_gives_none_back() -> None:
    turns = Turns(1, 0.01)
    with turns.one() as first, turns.one() as second, turns.one() as third:
        assert (first, second, third, turns.waiting) == (True, False, False, 0)
    with turns.one() as first, turns.one() as second:
        assert (first, second) == (True, False)


def test_a_failure_gives_its_turn_back() -> None:
    turns = Turns(1, 60)
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    with turns.one() as again:
        assert again


def test_never_more_than_so_many_with_a_turn_and_none_is_lost() -> None:
    turns, inside, most, lock = Turns(3, 0.002), [0], [0], threading.Lock()

    def go(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(50):
            with turns.one() as has_turn:
                with lock:
                    inside[0] += has_turn
                    most[0] = max(most[0], inside[0])
                threading.Event().wait(chance.choice([0, 0.001, 0.002]))  # some run out of patience at just that moment
                with lock:
                    inside[0] -= has_turn

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(go, range(16)))
    assert most[0] == 3 and inside[0] == 0
    with turns.one() as first, turns.one() as second, turns.one() as third, turns.one() as fourth:
        assert (first, second, third, fourth) == (True, True, True, False)
