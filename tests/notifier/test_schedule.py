"""What becomes of a delivery, and whose turn it is: without a network or a clock."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.notifier.schedule import (
    LONGEST_WAIT_S,
    Answer,
    Head,
    Limits,
    choose,
    judge_status,
    next_step,
    retry_after_s,
    sleep_s,
)

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
LIMITS = Limits(attempts=15, give_up_s=21_600)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (301, "refused"), (307, "refused"), (400, "refused"), (404, "refused"),
     (410, "refused"), (429, "failed"), (500, "failed"), (503, "failed"), (599, "failed"), (101, "refused")],
)  # fmt: skip
def test_only_what_may_pass_by_itself_is_tried_again(status: int, outcome: str) -> None:
    assert judge_status(status, None, NOW).outcome == outcome


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), ("0", 0.0), ("Thu, 15 Jan 2026 12:00:30 GMT", 30.0), ("Thu, 15 Jan 2026 11:00:00 GMT", 0.0),
     ("999999999999999999999999", 3600.0), ("Thu, 15 Jan 2099 12:00:00 GMT", 3600.0), ("soon", None), ("-5", None),
     ("1.5", None), ("", None), (None, None), ("²", None), ("Thu, 99 Jan 2026 12:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_capped(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds


@given(st.integers(1, 14), st.floats(0, 0.999), st.none() | st.floats(0, 3600))
def test_a_wait_grows_to_a_cap_and_is_never_shorter_than_asked_for(attempts: int, jitter: float, asked: float | None) -> None:
    step = next_step(Answer("failed", "HTTP 503", asked), attempts, 0.0, LIMITS, jitter)
    assert step.state == "waiting"
    ceiling_s = min(LONGEST_WAIT_S, 2.0 ** (attempts - 1))
    assert max(ceiling_s / 2, asked or 0) <= step.wait_s <= max(ceiling_s, asked or 0)


def test_a_delivery_is_given_up_by_attempts_by_age_and_at_once_where_it_is_refused() -> None:
    failed = Answer("failed", "HTTP 503")
    assert next_step(failed, 15, 0.0, LIMITS, 0.5) == ("dead", "given up after 15 attempts: HTTP 503", 0.0)
    assert next_step(failed, 2, 21_599.5, LIMITS, 0.5).state == "dead"
    assert next_step(Answer("refused", "HTTP 404"), 1, 0.0, LIMITS, 0.5) == ("dead", "HTTP 404", 0.0)
    assert next_step(Answer("delivered"), 15, 99_999.0, LIMITS, 0.5).state == "delivered"


def test_who_failed_before_takes_at_most_half_of_the_places() -> None:
    failing = [Head(n, "webhook", 3, -9.0) for n in range(20)]
    fresh = [Head(100 + n, "webhook", 0, -1.0) for n in range(3)]
    assert [head.receiver_id for head in choose(failing + fresh, {}, [], 8)] == [100, 101, 102, 0]
    assert len(choose(failing, {}, [], 8)) == 4


def test_children_of_apprise_are_a_quarter_of_the_places() -> None:
    heads = [Head(n, "apprise", 0, -1.0) for n in range(9)] + [Head(50, "webhook", 0, 0.0)]
    assert [head.receiver_id for head in choose(heads, {}, [], 8)] == [0, 1, 50]
    assert [head.kind for head in choose(heads, {90: 1, 91: 1}, ["apprise", "apprise"], 8)] == ["webhook"]


def test_who_is_served_or_not_due_is_not_chosen() -> None:
    heads = [Head(1, "webhook", 0, -1.0), Head(2, "webhook", 0, 3.0)]
    assert choose(heads, {1: 1}, ["webhook"], 8) == []


def test_the_sleep_ends_when_the_next_is_due() -> None:
    heads = [Head(1, "webhook", 1, 0.2), Head(2, "webhook", 1, 9.0), Head(3, "webhook", 1, 0.01)]
    assert sleep_s(heads, {3: 1}, 0.5) == 0.2
    assert sleep_s([], {}, 0.5) == 0.5
