"""Alert rules as they are stored: read when people have changed them, written when they moved on."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.alerting.machine import Rule, Transition
from common.alertkinds import KINDS, Condition
from common.alertstates import FIRING, State
from common.alertstore import RULES_LOCK, event_of, insert_events
from common.codec import iso_us
from common.errors import InvalidCondition
from common.log import get_logger
from common.trades import from_us, to_us

log = get_logger(__name__)

_RULES = """
SELECT id, alert_type, symbol_pair, timeframe, condition, state, (extract(epoch FROM expires_at) * 1000000)::bigint, severity,
    note, deleted_at IS NOT NULL
FROM alerts WHERE version > %s AND (%s >= 0 OR (deleted_at IS NULL AND status NOT IN ('expired', 'resolved'))) ORDER BY id
"""
_SAVE = """
UPDATE alerts a SET state = v.state::jsonb, status = v.status, firing = v.firing, updated_at = now(),
    triggered_at = coalesce(v.triggered_at::timestamptz, a.triggered_at),
    trigger_value = CASE WHEN v.triggered_at IS NULL THEN a.trigger_value ELSE v.trigger_value::double precision END
FROM (VALUES %s) AS v (id, state, status, firing, triggered_at, trigger_value) WHERE a.id = v.id
"""
_EVENTS_AT = """
SELECT alert_id, bar_timestamp, transition, value FROM alert_events
WHERE alert_id = ANY(%s) AND bar_timestamp = ANY(%s::timestamptz[])
    AND transition IN ('pending', 'lapsed', 'triggered', 'repeated', 'cleared')
"""


class Happened(NamedTuple):
    """A transition of a rule, and the rule's status right after it."""

    rule: Rule
    transition: Transition
    status: str


def changes(cursor: Cursor) -> int:
    """The number of the last change that people made."""
    cursor.execute("SELECT n FROM alert_changes")
    row = cursor.fetchone()
    assert row, "the migration put it there"
    return int(row[0])


def hold_rules(cursor: Cursor) -> None:
    """Until the commit, people who change a rule wait."""
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (RULES_LOCK,))


def changed_rules(cursor: Cursor, since: int, pair_window: int) -> dict[int, Rule | None]:
    """Rules that were made or changed after a change (-1: all that live); None for one that is gone, or that no one can read."""
    cursor.execute(_RULES, (since, since))
    return {row[0]: None if row[-1] else _rule(row[:-1], pair_window) for row in cursor.fetchall()}


def events_at(cursor: Cursor, rule_ids: Sequence[int], stamps: Collection[int]) -> dict[int, dict[int, dict[str, float | None]]]:
    """What was said of some moments: by moment and rule, the value of each transition. By people's hands is left out."""
    cursor.execute(_EVENTS_AT, (list(rule_ids), [from_us(us) for us in sorted(stamps)]))
    found: dict[int, dict[int, dict[str, float | None]]] = {}
    for alert_id, moment, transition, value in cursor.fetchall():
        found.setdefault(to_us(moment), {}).setdefault(alert_id, {})[transition] = value
    return found


def save(cursor: Cursor, rules: Iterable[Rule], happened: Iterable[Happened]) -> None:
    """Write rules that are no longer where they stood."""
    fired = {each.rule.id: each.transition for each in happened if each.transition.name == "triggered"}
    rows = [_saved(rule, fired.get(rule.id)) for rule in rules]
    if rows:
        execute_values(cursor, _SAVE, rows, page_size=1_000)


def record(cursor: Cursor, happened: Iterable[Happened], now_us: int) -> list[dict[str, Any]]:
    """Write the events that are not there yet, queue what receivers are told; answers them as live events tell them."""
    return insert_events(cursor, [_event(*each) for each in happened], now_us)


def _rule(row: tuple[Any, ...], pair_window: int) -> Rule | None:
    alert_id, alert_type, subject, timeframe, condition, state, expires_us, severity, note = row
    if alert_type not in KINDS:
        log.warning("alert %d is of the unknown type %r and is left alone", alert_id, alert_type)
        return None
    try:
        read, found = Condition.of(alert_type, condition, pair_window), State.from_json(state)
    except (InvalidCondition, TypeError, ValueError) as exc:
        log.warning("alert %d can not be read and is left alone: %s", alert_id, exc)
        return None
    return Rule(alert_id, alert_type, subject, timeframe, read, found, expires_us, severity, note)


def _saved(rule: Rule, fired: Transition | None) -> tuple[Any, ...]:
    state = rule.state
    moment, value = (from_us(fired.us), fired.value) if fired else (None, None)
    return rule.id, orjson.dumps(state.to_json()).decode(), state.status(rule.condition.once), state.name in FIRING, moment, value


def _event(rule: Rule, transition: Transition, status: str) -> dict[str, Any]:
    alert = {
        "id": rule.id, "alert_type": rule.alert_type, "symbol_pair": rule.subject, "timeframe": rule.timeframe,
        "severity": rule.severity, "note": rule.note, "threshold": rule.condition.threshold,
    }  # fmt: skip
    details = {
        name.removesuffix("_us"): iso_us(value) if name.endswith("_us") and value is not None else value
        for name, value in transition.facts.items()
    }
    return event_of(alert, transition.name, status, transition.us, transition.value, details)
