"""An alert rule as a small state machine. Pure: rows in, transitions out.

    active ──condition holds──► triggered ──condition ends──► active     (`once`: stays triggered)
       └──── expires_at passed ──► expired

One event a crossing: while the condition goes on holding nothing more is said; a missing value is not an end of it. Within
`cooldown_s` of a trigger the rule does not trigger again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Facts = dict[str, float | None]


class Kind(NamedTuple):
    """What a type of alert looks at: a value of a pair row or of a bar, and when it holds against the threshold."""

    value: str
    of_pair: bool
    holds: Callable[[float, float], bool]


KINDS = {
    "zscore_high": Kind("z_score", True, lambda value, threshold: value > threshold),
    "zscore_low": Kind("z_score", True, lambda value, threshold: value < -abs(threshold)),
    "zscore_abs": Kind("z_score", True, lambda value, threshold: abs(value) > threshold),
    "spread_above": Kind("spread", True, lambda value, threshold: value > threshold),
    "spread_below": Kind("spread", True, lambda value, threshold: value < threshold),
    "correlation_break": Kind("correlation", True, lambda value, threshold: value < threshold),
    "price_above": Kind("close", False, lambda value, threshold: value > threshold),
    "price_below": Kind("close", False, lambda value, threshold: value < threshold),
    "price_movement": Kind("move_pct", False, lambda value, threshold: abs(value) > threshold),
    "volume_spike": Kind("volume_ratio", False, lambda value, threshold: value > threshold),
}


@dataclass(slots=True)
class Rule:
    """One alert as it stands; `expires_us` None: never."""

    id: int
    kind: str
    target: str  # a pair or a symbol
    timeframe: str
    threshold: float
    firing: bool
    once: bool
    cooldown_us: int
    triggered_us: int | None  # when it last triggered
    expires_us: int | None

    @property
    def value_name(self) -> str:
        """Which fact of a row the rule looks at."""
        return KINDS[self.kind].value


class Transition(NamedTuple):
    """A rule changed state on a bar."""

    rule: Rule
    name: str  # triggered, cleared, expired
    status: str  # what the alert's status becomes
    bar_us: int
    value: float | None


def evaluate(rule: Rule, bar_us: int, facts: Facts) -> Transition | None:
    """Look at one row; the rule moves on if the row changes its state."""
    if rule.expires_us is not None and bar_us >= rule.expires_us:
        rule.firing = False
        return Transition(rule, "expired", "expired", bar_us, None)
    value = facts.get(rule.value_name)
    if value is None or (rule.firing and rule.once):
        return None
    holds = KINDS[rule.kind].holds(value, rule.threshold)
    if holds == rule.firing:
        return None
    if holds and rule.triggered_us is not None and bar_us < rule.triggered_us + rule.cooldown_us:
        return None
    rule.firing = holds
    rule.triggered_us = bar_us if holds else rule.triggered_us
    name, status = ("triggered", "triggered") if holds else ("cleared", "active")
    return Transition(rule, name, status, bar_us, value)


def rule_of(row: tuple[Any, ...]) -> Rule | None:
    """A rule from its table row (id, alert_type, symbol_pair, timeframe, condition, firing, triggered_us, expires_us)."""
    alert_id, kind, target, timeframe, condition, firing, triggered_us, expires_us = row
    if kind not in KINDS or "threshold" not in condition:
        return None
    cooldown_us = int(float(condition.get("cooldown_s") or 0) * 1_000_000)
    once, threshold = bool(condition.get("once")), float(condition["threshold"])
    return Rule(alert_id, kind, target, timeframe, threshold, firing, once, cooldown_us, triggered_us, expires_us)
