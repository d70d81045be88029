"""After failures something is tried ever less often, never at the same moments as others, and never too seldom."""

from hypothesis import given
from hypothesis import strategies as st

from common.lifecycle import Backoff


def waits(backoff: Backoff, failures: int, now_s: float = 0.0) -> list[float]:
    """Fail as soon as it may be tried, so many times."""
    found = []
    for _ in range(failures):
        assert backoff.may_try(now_s)
        found.append(backoff.failed(now_s))
        now_s += found[-1]
    return found


@given(st.floats(0.01, 2), st.floats(2, 60), st.floats(0, 1e9), st.integers(1, 20))
def test_each_wait_is_between_half_and_all_of_a_ceiling_that_doubles_up_to_the_cap(base_s, cap_s, now_s, failures):
    for number, wait_s in enumerate(waits(Backoff(base_s, cap_s), failures, now_s)):
        ceiling_s = min(cap_s, base_s * 2**number)
        assert ceiling_s / 2 <= wait_s <= ceiling_s


def test_the_first_try_need_not_wait_and_another_waits_until_its_moment():
    backoff = Backoff()
    assert backoff.may_try(0.0)
    wait_s = backoff.failed(100.0)
    assert not backoff.may_try(100.0) and not backoff.may_try(100.0 + wait_s * 0.99) and backoff.may_try(100.0 + wait_s)


def test_success_starts_anew():
    backoff = Backoff(0.1, 5.0)
    assert waits(backoff, 8)[-1] >= 2.5
    backoff.worked()
    assert backoff.failed(1000.0) <= 0.1


def test_two_that_fail_together_do_not_come_back_together():
    assert waits(Backoff(), 5) != waits(Backoff(), 5)
