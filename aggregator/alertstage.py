"""The alert stage: evaluates every rule on every bar and pair row at its first close, in the aggregator's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from aggregator.alerts import KINDS, Facts, Rule, Transition, evaluate, rule_of
from aggregator.core import Closed
from aggregator.symbols import Symbols
from common.codec import iso_us, parse_iso_us
from common.trades import from_us

VOLUME_BARS = 20
_RULES = """
SELECT id, alert_type, symbol_pair, timeframe, condition, firing, (extract(epoch FROM triggered_at) * 1000000)::bigint,
    (extract(epoch FROM expires_at) * 1000000)::bigint
FROM alerts WHERE deleted_at IS NULL AND status IN ('active', 'triggered') ORDER BY id
"""
_HISTORY = """
SELECT close, volume FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp < %s ORDER BY timestamp DESC LIMIT %s
"""
_CHANGE = """
UPDATE alerts SET status = %s, firing = %s, triggered_at = CASE WHEN %s THEN %s ELSE triggered_at END,
    trigger_value = CASE WHEN %s THEN %s ELSE trigger_value END WHERE id = %s
"""
_EVENT = """
INSERT INTO alert_events (alert_id, transition, bar_timestamp, value) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""


def step(
    cursor: Cursor, closed: Mapping[str, Closed], symbols: Symbols, pair_rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Evaluate the rules on what has closed, oldest bar first; answers the events."""
    cursor.execute(_RULES)
    rules = [rule for row in cursor.fetchall() if (rule := rule_of(row))]
    if not rules:
        return []
    events = []
    for rule in rules:
        rows = _pair_facts(rule, pair_rows) if KINDS[rule.kind].of_pair else _bar_facts(cursor, rule, closed, symbols)
        for bar_us, facts in rows:
            transition = evaluate(rule, bar_us, facts)
            if transition:
                events += _record(cursor, transition)
            if transition and transition.name == "expired":
                break
    return events


def _pair_facts(rule: Rule, pair_rows: Sequence[dict[str, Any]]) -> list[tuple[int, Facts]]:
    return [
        (parse_iso_us(row["timestamp"]), {rule.value_name: row[rule.value_name]})
        for row in pair_rows
        if row["symbol_pair"] == rule.target and row["timeframe"] == rule.timeframe
    ]


def _bar_facts(
    cursor: Cursor, rule: Rule, closed: Mapping[str, Closed], symbols: Symbols
) -> list[tuple[int, Facts]]:
    """Facts of the rule's closed bars; a look back in the table only for rules that need one."""
    code, rows = symbols.codes.get(rule.target), closed.get(rule.timeframe)
    if code is None or rows is None:
        return []
    bars = rows.bars.take(rows.bars.symbol == code)
    price, size = 10 ** int(symbols.price_scale[code]), 10 ** int(symbols.size_scale[code])
    made = []
    for start_us, close, volume in zip(bars.start_us.tolist(), bars.close.tolist(), bars.volume.tolist(), strict=True):
        facts: Facts = {"close": close / price}
        if rule.value_name in ("move_pct", "volume_ratio"):
            cursor.execute(_HISTORY, (rule.target, rule.timeframe, from_us(start_us), VOLUME_BARS))
            facts |= relative_facts(close / price, volume / size, cursor.fetchall())
        made.append((start_us, facts))
    return made


def relative_facts(close: float, volume: float, before: Sequence[tuple[Any, Any]]) -> Facts:
    """Move against the bar before, in percent; volume against the mean of the 20 bars before (None until there are 20)."""
    move = (close / float(before[0][0]) - 1) * 100 if before else None
    mean = sum(float(row[1]) for row in before) / len(before) if len(before) == VOLUME_BARS else None
    return {"move_pct": move, "volume_ratio": volume / mean if mean else None}


def _record(cursor: Cursor, transition: Transition) -> list[dict[str, Any]]:
    rule, fired, moment = transition.rule, transition.name == "triggered", from_us(transition.bar_us)
    cursor.execute(_CHANGE, (transition.status, rule.firing, fired, moment, fired, transition.value, rule.id))
    cursor.execute(_EVENT, (rule.id, transition.name, moment, transition.value))
    found = cursor.fetchone()
    if not found:
        return []
    return [{
        "event_id": found[0], "id": rule.id, "alert_type": rule.kind, "symbol_pair": rule.target, "timeframe": rule.timeframe,
        "transition": transition.name, "status": transition.status, "timestamp": iso_us(transition.bar_us),
        "value": transition.value, "threshold": rule.threshold,
    }]  # fmt: skip
