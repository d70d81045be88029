"""An alert rule as a state machine. Pure: one observation in, the next state and at most one transition out.

                 holds                 long enough              is over
    inactive ────────────► pending ────────────► firing ────────────► resolved (as inactive, or the end if `once`)
        ▲                     │ lapsed              │ by hand             ▲
        └─────────────────────┘                     └──► acknowledged ────┘

One transition a crossing: while a condition goes on holding, nothing more is said (but by `repeat_s`). It is over once the value
has come back to `clear`, or, without one, once it does not hold. A missing value is neither: no data is not "over".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from common.alertkinds import KINDS, Condition, Kind, bound, score
from common.alertstates import FIRING, State


@dataclass(slots=True)
class Rule:
    """One alert; `state` moves on, the rest is what was asked for. `expires_us` None: never."""

    id: int
    alert_type: str
    subject: str  # a pair or a symbol
    timeframe: str
    condition: Condition
    state: State = field(default_factory=State)
    expires_us: int | None = None
    severity: str = "warning"
    note: str = ""

    @property
    def kind(self) -> Kind:
        """Its type."""
        return KINDS[self.alert_type]

    @property
    def has_ended(self) -> bool:
        """True if nothing more can come of it."""
        return self.state.has_ended(self.condition.once)


class Observation(NamedTuple):
    """What a rule looks at: a value at a moment (a bar's start), and what goes with it. `holds` is given where the threshold
    alone does not decide it; without it, `value` None is no data."""

    us: int
    value: float | None
    facts: Mapping[str, Any] = {}
    holds: bool | None = None


class Transition(NamedTuple):
    """A rule changed its state (or repeats itself) on an observation; `us` is the moment it is of."""

    name: str
    us: int
    value: float | None
    facts: Mapping[str, Any]


def observe(rule: Rule, seen: Observation) -> Transition | None:
    """Look at one observation; the rule moves on."""
    rule.state, transition = advance(rule, rule.state, seen)
    return transition


def run(rule: Rule, observations: Iterable[Observation]) -> list[Transition]:
    """Look at observations, oldest first."""
    return [transition for seen in observations if (transition := observe(rule, seen))]


def advance(rule: Rule, state: State, seen: Observation) -> tuple[State, Transition | None]:
    """The next state, and the transition to it if it is one.

    An observation from before the one that a firing stands on says nothing.
    """
    if state.has_ended(rule.condition.once):
        return state, None
    if rule.expires_us is not None and seen.us >= rule.expires_us:
        return expired(rule, state)
    if state.name == "paused" or (state.since_us is not None and seen.us < state.since_us):
        return state, None
    holds, over = verdict(rule, seen)
    if holds is None:
        return state, None
    if state.name in FIRING:
        return _while_firing(rule, state, seen, over)
    return _while_holding(rule, state, seen) if holds else _while_quiet(rule, state, seen)


def expired(rule: Rule, state: State) -> tuple[State, Transition]:
    """Its time is over, whatever the state was."""
    assert rule.expires_us is not None
    facts = {"state": state.name}
    return State("expired", fired_us=state.fired_us), Transition("expired", rule.expires_us, None, facts)


def verdict(rule: Rule, seen: Observation) -> tuple[bool | None, bool]:
    """Whether the condition holds (None: no data), and whether it is over. With `clear` there is ground between the two."""
    if seen.holds is not None:
        return seen.holds, not seen.holds
    if seen.value is None or seen.value != seen.value:
        return None, False
    sense, condition = rule.kind.sense, rule.condition
    at, limit = score(sense, seen.value), bound(sense, condition.threshold)
    return at > limit, at <= (limit if condition.clear is None else bound(sense, condition.clear))


def _while_firing(rule: Rule, state: State, seen: Observation, over: bool) -> tuple[State, Transition | None]:
    if over:
        facts = {**seen.facts, "fired_us": state.fired_us}
        return State("resolved", fired_us=state.fired_us, armed=True), Transition("cleared", seen.us, seen.value, facts)
    repeat_us, told_us = rule.condition.repeat_us, state.told_us or 0
    if state.name == "firing" and repeat_us is not None and seen.us >= told_us + repeat_us:
        facts = {**seen.facts, "fired_us": state.fired_us}
        return replace(state, told_us=seen.us), Transition("repeated", seen.us, seen.value, facts)
    return state, None


def _while_quiet(rule: Rule, state: State, seen: Observation) -> tuple[State, Transition | None]:
    armed = state.armed or rule.kind.after_ok
    if state.name == "pending":
        facts = {**seen.facts, "held_bars": state.held, "since_us": state.since_us}
        return State(fired_us=state.fired_us, armed=armed), Transition("lapsed", seen.us, seen.value, facts)
    return (replace(state, armed=True) if armed and not state.armed else state), None


def _while_holding(rule: Rule, state: State, seen: Observation) -> tuple[State, Transition | None]:
    if rule.kind.after_ok and not state.armed:
        return state, None
    condition, was_pending = rule.condition, state.name == "pending"
    began_us = state.since_us if was_pending and state.since_us is not None else seen.us
    held = state.held + 1
    long_enough = held >= condition.for_bars and seen.us - began_us >= condition.for_us
    rested = state.fired_us is None or seen.us >= state.fired_us + condition.cooldown_us
    if long_enough and rested:
        facts = {**seen.facts, "held_bars": held, "since_us": began_us}
        fired = State("firing", since_us=seen.us, fired_us=seen.us, told_us=seen.us, armed=state.armed)
        return fired, Transition("triggered", seen.us, seen.value, facts)
    if condition.for_bars == 1 and not condition.for_us:
        return state, None  # only the cooldown is in its way
    pending = replace(state, name="pending", since_us=began_us, held=held)
    return pending, None if was_pending else Transition("pending", seen.us, seen.value, dict(seen.facts))
