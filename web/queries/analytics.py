# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Pair rows and price statistics."""

from collections.abc import Mapping
from typing import Any

from web.queries.pieces import as_list, finite, instant, sort, within
from web.stores import Stores

METHOD = "ols"
_PAIR_FLOATS = ("hedge_ratio", "intercept", "spread", "z_score", "rolling_mean", "rolling_std", "correlation")
_TEST_FLOATS = ("adf_statistic", "adf_pvalue")
_STATS_FLOATS = ("returns", "volatility", "volume_ma", "price_change_pct", "high_low_range")


def _list(name: str, columns: str, table: str, query: Mapping[str, Any]) -> str:
    newest = f"SELECT *, timestamp AS at FROM {table}{within(query)} ORDER BY timestamp DESC LIMIT %(limit)s"
    by = sort(query["order"]).replace("timestamp", "at")
    return as_list(name, f"SELECT {instant('at')} AS timestamp, {columns} FROM ({newest}) AS newest ORDER BY {by}")


def spread_rows(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"analytics": [...], "count"}` of the pair symbol1_symbol2."""
    floats = ", ".join(map(finite, (*_PAIR_FLOATS, *_TEST_FLOATS)))
    columns = (
        f"symbol1_price, symbol2_price, {floats}, is_cointegrated, {instant('coint_at')} AS coint_at, carried, has_gap, revision"
    )
    table = (
        "spread_analytics WHERE symbol_pair = %(symbol_pair)s AND timeframe = %(timeframe)s"
        " AND window_bars = %(window)s AND method = %(method)s"
    )
    pair = f"{query['symbol1']}_{query['symbol2']}"
    return stores.text(_list("analytics", columns, table, query), {**query, "symbol_pair": pair, "method": METHOD})


def stats_rows(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"stats": [...], "count"}` of a symbol."""
    table = "price_stats WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s AND window_bars = %(window)s"
    return stores.text(_list("stats", ", ".join(map(finite, _STATS_FLOATS)), table, query), query)
