"""How much there is: from counters that the writers and the aggregator keep, never by counting rows."""

from web.stores import Stores

_TOTALS = """
SELECT json_build_object(
    'tick_count', (SELECT coalesce(sum(stored), 0) FROM writer_positions),
    'bar_count', (SELECT coalesce(sum(bars), 0) FROM checkpoints),
    'symbols', (SELECT coalesce(json_agg(symbol ORDER BY symbol), '[]') FROM sources))::text
"""


def totals(stores: Stores) -> str:
    """`{"tick_count", "bar_count", "symbols"}`."""
    return stores.shared_text("totals", _TOTALS)


def known_symbols(stores: Stores) -> frozenset[str]:
    """All symbols that have ticks, or that the feed is asked for."""
    row = stores.row("SELECT coalesce(array_agg(symbol), '{}') FROM sources")
    assert row, "an aggregate always answers a row"
    return frozenset(row[0]) | frozenset(stores.settings.symbols)
