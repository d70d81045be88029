"""Rows that come behind newer ones, and rows that change: what a rule would have said, without moving it. Pure.

A late row is looked at among its neighbours: the machine runs once more, from the beginning, over the rows around it as they are
stored now. What it says at the late row is recorded with `late: true`; where the rule stands is as it was.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from aggregator.alerting.machine import Observation, Rule, Transition, observe, verdict
from aggregator.alerting.series import Row, Series, SeriesKey
from common.alertstates import State

#: Rows before a late one that the machine runs over.
CONTEXT_ROWS = 100
CROSSINGS = ("triggered", "cleared")


def context_rows(rules: Iterable[Rule]) -> int:
    """How many rows before a late one are needed."""
    return CONTEXT_ROWS + max((rule.condition.for_bars + rule.condition.window for rule in rules), default=0)


def late_transitions(
    key: SeriesKey, rules: Sequence[Rule], rows: Iterable[Row], late: Collection[int]
) -> list[tuple[Rule, Transition]]:
    """What the rules say at the late rows, of a run over `rows` (oldest first)."""
    copies = {copy.id: (rule, copy) for rule in rules if (copy := _fresh(rule))}
    series = Series(key, [copy for _, copy in copies.values()])
    found = []
    for row in rows:
        for copy, seen in series.look(row):
            transition = observe(copy, seen)
            if transition and transition.name in CROSSINGS and row["us"] in late:
                found.append((copies[copy.id][0], transition._replace(facts={**transition.facts, "late": True})))
    return found


def annotation(key: SeriesKey, rule: Rule, rows: Iterable[Row], us: int, was: Mapping[str, float | None]) -> Transition:
    """What a changed row says now, beside what was said of it: `was` has the values then by transition. `rows` are those that the
    rule looks back on and the row itself, if it is still there, oldest first."""
    seen = _seen_at(key, rule, rows, us)
    if seen is None:
        return Transition("annotated", us, None, {"was": dict(was), "row": "deleted"})
    holds, _ = verdict(rule, seen)
    return Transition("annotated", us, seen.value, {**seen.facts, "was": dict(was), "row": "changed", "holds": holds})


def clusters(late: Iterable[int], apart_us: int) -> list[list[int]]:
    """Stamps in runs whose members are at most `apart_us` apart.

    >>> clusters([5, 1, 2, 9], 2)
    [[1, 2], [5], [9]]
    """
    runs: list[list[int]] = []
    for us in sorted(late):
        if runs and us - runs[-1][-1] <= apart_us:
            runs[-1].append(us)
        else:
            runs.append([us])
    return runs


def _seen_at(key: SeriesKey, rule: Rule, rows: Iterable[Row], us: int) -> Observation | None:
    series = Series(key, [rule])
    for row in rows:
        ((_, seen),) = series.look(row)
        if row["us"] == us:
            return seen
    return None


def _fresh(rule: Rule) -> Rule | None:
    """The rule at its beginning; None if it looks at nothing now."""
    if rule.has_ended or rule.state.name == "paused":
        return None
    return replace(rule, state=State(), expires_us=None)
