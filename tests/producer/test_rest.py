"""The venue's limits are kept, and its refusals are read in one place."""

import pytest

from common.errors import FeedRejected, FeedUnavailable
from producer.rest import WeightBudget, refusal


def test_a_spent_minute_is_waited_out():
    budget = WeightBudget(limit=100)
    budget.note_used(90, now_s=130.0)
    assert budget.wait_s(10, now_s=130.0) == 0
    assert budget.wait_s(11, now_s=130.0) == 50
    assert budget.wait_s(11, now_s=180.0) == 0


def test_the_longest_wait_asked_for_counts():
    budget = WeightBudget()
    budget.close_for(120, now_s=0.0)
    budget.close_for(30, now_s=10.0)
    assert budget.wait_s(1, now_s=100.0) == 20


@pytest.mark.parametrize(("status", "kind"), [
    (400, FeedRejected), (404, FeedRejected), (451, FeedRejected), (403, FeedUnavailable), (408, FeedUnavailable),
    (418, FeedUnavailable), (429, FeedUnavailable), (500, FeedUnavailable), (503, FeedUnavailable), (302, FeedUnavailable),
])  # fmt: skip
def test_a_status_says_whether_asking_again_may_help(status, kind):
    assert type(refusal(status, "no")) is kind
