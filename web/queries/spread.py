# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Pair rows, as they are or as they were known at some moment."""

from collections.abc import Mapping
from typing import Any

from common.settings import Settings
from web.paging import by_stamp, one_page, us
from web.queries.pieces import decimal, finite, instant, sort, within
from web.stores import Stores

PAIR_FLOATS = (
    "hedge_ratio", "intercept", "spread", "z_score", "rolling_mean", "rolling_std", "correlation", "return_correlation",
    "half_life", "innovation_z",
)  # fmt: skip
PAIR_TESTS = ("adf_statistic", "adf_pvalue", "hurst", "variance_ratio", "spread_adf_statistic", "spread_adf_pvalue")
_ROW = "timestamp, symbol1_price, symbol2_price, hedge_ratios, leg_prices, carried, has_gap, revision, written_at"
_COLUMNS = ", ".join((_ROW, *PAIR_FLOATS))
_OF_SERIES = (
    "WHERE symbol_pair = %(symbol_pair)s AND timeframe = %(timeframe)s AND window_bars = %(window)s AND method = %(method)s"
)


def spread_rows(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of the rows of a series; with `as_of`, the rows and tests that were written by then."""
    query = by_stamp(of_series(stores.settings, query))
    columns = f"{shown_columns(query)}, %(window)s AS window, %(method)s::text AS method"
    found = f"SELECT *, timestamp AS at FROM ({pair_versions(query)}) AS versions"
    by = sort(query["order"]).replace("timestamp", "at")
    shown = f"SELECT {instant('at')} AS timestamp, {columns} FROM page ORDER BY {by}"
    return one_page(stores, query, "analytics", found, "at DESC", shown, us("at"))


def shown_columns(query: Mapping[str, Any]) -> str:
    """SQL of a row as it is answered, but for its `timestamp`, `window` and `method`."""
    floats = ", ".join(map(finite, (*PAIR_FLOATS, *PAIR_TESTS)))
    return (
        f"{decimal('symbol1_price, symbol2_price', query)}, {floats}, is_cointegrated, {instant('coint_at')} AS coint_at,"
        f" hedge_ratios, {decimal('leg_prices', query, 'text[]')},"
        f" carried, has_gap, revision, {instant('written_at')} AS written_at"
    )


def of_series(settings: Settings, query: Mapping[str, Any]) -> dict[str, Any]:
    """The query with the name, window and method of the series that it asks for."""
    name, window, method = named_series(settings, query)
    return {**query, "symbol_pair": name, "window": window, "method": method}


def named_series(settings: Settings, query: Mapping[str, Any]) -> tuple[str, int, str]:
    """Name, window and method of what is asked for; what is not said is as in GEMS_PAIRS, or else `ols` and GEMS_WINDOW."""
    name = "_".join(query.get("symbols") or (query["symbol1"], query["symbol2"]))
    window, method = query.get("window"), query.get("method")
    for spec in settings.pair_specs:
        found = spec.window or settings.window
        if spec.pair == name and window in (None, found) and method in (None, spec.method):
            return name, found, spec.method
    return name, window or settings.window, method or "ols"


def pair_versions(query: Mapping[str, Any]) -> str:
    """SQL of the rows of a series, one of each time."""
    tests = ", ".join((*PAIR_TESTS, "is_cointegrated", "coint_at"))
    if not query.get("as_of"):
        return f"SELECT {_COLUMNS}, {tests} FROM spread_analytics {_OF_SERIES}{within(query)}"
    known = ", ".join(
        f"CASE WHEN coint_written_at <= %(as_of)s THEN {name} END AS {name}"
        for name in (*PAIR_TESTS, "is_cointegrated", "coint_at")
    )
    before = f"{_OF_SERIES}{within(query)} AND written_at <= %(as_of)s"
    return (
        f"SELECT {_COLUMNS}, {known} FROM spread_analytics {before}"
        f" UNION ALL SELECT {_COLUMNS}, {known} FROM spread_revisions {before} AND replaced_at > %(as_of)s"
    )
