"""What PostgreSQL knows of the pipeline's health; counters and index look-ups alone."""

from typing import Any

from web.asking import asked
from web.stores import Stores

_FACTS = """
SELECT json_build_object(
    'ticks', (SELECT coalesce(sum(stored), 0) FROM writer_positions),
    'dead', (SELECT coalesce(sum(dead), 0) FROM writer_positions),
    'bars', (SELECT coalesce(sum(bars), 0) FROM checkpoints),
    'late', (SELECT coalesce(sum(late), 0) FROM checkpoints),
    'positions', (SELECT coalesce(json_agg(json_build_array(shard, position_ms, position_seq)), '[]') FROM checkpoints),
    'gaps_open', (SELECT count(*) FROM gaps WHERE state = 'open'),
    'last_trade_s', (SELECT coalesce(json_object_agg(symbol, extract(epoch FROM at)), '{}') FROM (
        SELECT symbol, (SELECT timestamp FROM processed_bars AS bar WHERE bar.symbol = sources.symbol
            AND timeframe = %(timeframe)s ORDER BY timestamp DESC LIMIT 1) AS at FROM sources) AS newest WHERE at IS NOT NULL))
"""


def stored_facts(stores: Stores) -> dict[str, Any]:
    """Counters, the aggregator's positions (shard, ms, seq), and by symbol the start of its newest bar, epoch seconds."""
    with asked(stores.settings) as ask:
        facts: dict[str, Any] = ask.row(_FACTS, {"timeframe": stores.settings.timeframes[0]})[0]
    return facts
