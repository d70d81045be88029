# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Price statistics."""

from collections.abc import Mapping
from typing import Any

from web.queries.pieces import as_list, finite, instant, sort, within
from web.stores import Stores

_STATS_FLOATS = ("returns", "volatility", "volume_ma", "price_change_pct", "high_low_range")


def _list(name: str, columns: str, table: str, query: Mapping[str, Any]) -> str:
    newest = f"SELECT *, timestamp AS at FROM {table}{within(query)} ORDER BY timestamp DESC LIMIT %(limit)s"
    by = sort(query["order"]).replace("timestamp", "at")
    return as_list(name, f"SELECT {instant('at')} AS timestamp, {columns} FROM ({newest}) AS newest ORDER BY {by}")


def stats_rows(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"stats": [...], "count"}` of a symbol."""
    table = "price_stats WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s AND window_bars = %(window)s"
    return stores.text(_list("stats", ", ".join(map(finite, _STATS_FLOATS)), table, query), query)
