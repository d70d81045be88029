"""What becomes of a delivery after an attempt, and who is served next: pure, time comes as an argument."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
#: What a receiver asks for with Retry-After is honoured up to here.
LONGEST_RETRY_AFTER_S = 3600.0
MAX_REASON = 500


class Answer(NamedTuple):
    """What came of an attempt; `retry_after_s`: what the receiver asked for, None if nothing."""

    outcome: Literal["delivered", "failed", "refused"]
    reason: str = ""
    retry_after_s: float | None = None


class Limits(NamedTuple):
    """When a delivery is given up."""

    attempts: int
    give_up_s: float


class Step(NamedTuple):
    """The next state of a delivery; `wait_s` is until the next attempt of one that waits."""

    state: Literal["delivered", "waiting", "dead"]
    reason: str = ""
    wait_s: float = 0.0


class Head(NamedTuple):
    """The first waiting delivery of a receiver; `due_in_s` is 0 or less when its time has come."""

    receiver_id: int
    kind: str
    attempts: int
    due_in_s: float


def judge_status(status: int, retry_after: str | None, now: datetime) -> Answer:
    """What an HTTP status means: 5xx and 429 may pass by themselves, all else that is not 2xx will not."""
    if 200 <= status < 300:
        return Answer("delivered")
    if status == 429 or status >= 500:
        return Answer("failed", f"HTTP {status}", retry_after_s(retry_after, now))
    return Answer("refused", f"HTTP {status}" + ("; redirects are not followed" if 300 <= status < 400 else ""))


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or an HTTP date; None if it holds neither.

    >>> retry_after_s("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_RETRY_AFTER_S)


def next_step(answer: Answer, attempts: int, age_s: float, limits: Limits, jitter: float) -> Step:
    """What becomes of a delivery; `attempts` counts this one, `age_s` is how long it has waited, `jitter` is in [0, 1)."""
    reason = answer.reason[:MAX_REASON]
    if answer.outcome == "delivered":
        return Step("delivered")
    if answer.outcome == "refused":
        return Step("dead", reason)
    if attempts >= limits.attempts:
        return Step("dead", f"given up after {attempts} attempts: {reason}")
    wait_s = max(_wait_s(attempts, jitter), answer.retry_after_s or 0.0)
    if age_s + wait_s >= limits.give_up_s:
        return Step("dead", f"given up, {age_s:.0f} s old, after {attempts} attempts: {reason}")
    return Step("waiting", reason, wait_s)


def _wait_s(attempts: int, jitter: float) -> float:
    ceiling_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts - 1, 32))
    return ceiling_s * (0.5 + jitter / 2)


def choose(heads: Iterable[Head], busy: Collection[int], busy_kinds: Collection[str], places: int) -> list[Head]:
    """Whose turn it is. Who failed before comes last and takes at most half of the places; a child of apprise is dear,
    so that at most a quarter of the places are theirs.
    """
    due = [head for head in heads if head.due_in_s <= 0 and head.receiver_id not in busy]
    free = places - len(busy)
    dear = max(1, places // 4) - sum(kind == "apprise" for kind in busy_kinds)
    chosen: list[Head] = []
    for head in sorted(due, key=lambda head: (head.attempts > 0, head.due_in_s)):
        room = free - (places // 2 if head.attempts else 0)
        if len(chosen) >= room or (head.kind == "apprise" and dear < 1):
            continue
        chosen.append(head)
        dear -= head.kind == "apprise"
    return chosen


def sleep_s(heads: Iterable[Head], busy: Collection[int], longest_s: float) -> float:
    """How long nothing is due; a notification of something new ends it sooner."""
    return max(0.0, min([longest_s, *(head.due_in_s for head in heads if head.receiver_id not in busy and head.due_in_s > 0)]))
