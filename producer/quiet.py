"""Symbols of which nothing comes: a quiet market, or a subscription that was acknowledged and is silent?

REST is asked what was traded meanwhile. Trades that the connection should have brought, and did not bring even a moment later,
tell a silent subscription. Pure: the clock is the caller's, monotonic seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from producer.flow import Flow

SETTLE_S = 5.0  # after a reconnection: a trade that comes by then tells by its id what was missed
GRACE_S = 2.0  # REST may be ahead of the connection
RARELY = 10  # a symbol that stays quiet is asked about less and less, down to once in so many times


@dataclass(slots=True)
class _Ear:
    flow: Flow
    interval_s: float
    due_s: float
    heard_s: float = 0.0
    asked_s: float | None = None
    fetched: int = 0
    verdict_s: float | None = None
    reconnected: bool = False


class Look(NamedTuple):
    """What follows: flows to ask REST about, and flows whose subscription is silent."""

    ask: list[Flow]
    silent: list[Flow]


class Quiet:
    """Listens for one connection's flows."""

    def __init__(self, flows: Iterable[Flow], stale_after_s: float) -> None:
        self._stale_s = stale_after_s
        self._ears = [_Ear(flow, stale_after_s, 0.0) for flow in flows]

    def connected(self, now_s: float, again: bool) -> None:
        """A new connection; `again`: trades may have passed while there was none."""
        for ear in self._ears:
            self._rest(ear, now_s, self._stale_s)
            if again:
                ear.due_s, ear.reconnected = now_s + min(SETTLE_S, self._stale_s / 2), True

    def look(self, now_s: float) -> Look:
        """Look at every flow; one is asked about at a time."""
        found = Look([], [])
        for ear in self._ears:
            if ear.asked_s is not None:
                if not ear.flow.catching:
                    self._judge(ear, now_s, ear.asked_s, found)
                continue
            if ear.flow.heard_s > ear.heard_s:
                self._rest(ear, ear.flow.heard_s, self._stale_s)
        free = all(ear.asked_s is None for ear in self._ears)
        due = [ear for ear in self._ears if now_s >= ear.due_s and ear.flow.last_id is not None and not ear.flow.catching]
        if free and due:
            ear = min(due, key=lambda each: each.due_s)
            ear.asked_s, ear.fetched, ear.verdict_s = now_s, ear.flow.fetched, None
            found.ask.append(ear.flow)
        return found

    def _judge(self, ear: _Ear, now_s: float, asked_s: float, found: Look) -> None:
        """The answer is in."""
        if ear.flow.heard_s >= asked_s:
            self._rest(ear, ear.flow.heard_s, self._stale_s)
        elif ear.flow.fetched == ear.fetched:
            self._rest(ear, now_s, min(ear.interval_s * 2, self._stale_s * RARELY))
        elif ear.verdict_s is None:
            ear.verdict_s = now_s + GRACE_S
        elif now_s >= ear.verdict_s:
            if not ear.reconnected:
                found.silent.append(ear.flow)
            self._rest(ear, now_s, self._stale_s)

    def _rest(self, ear: _Ear, since_s: float, interval_s: float) -> None:
        ear.interval_s, ear.due_s, ear.heard_s = interval_s, since_s + interval_s, ear.flow.heard_s
        ear.asked_s, ear.reconnected = None, False
