# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Price statistics, as they are or as they were known at some moment."""

from collections.abc import Mapping
from typing import Any

from common.timeframes import TIMEFRAMES_S
from web.paging import by_stamp, one_page, us
from web.queries.pieces import finite, instant, sort, within
from web.stores import Stores

YEAR_S = 365 * 86_400
FLOATS = (
    "returns", "log_return", "volatility", "realised_volatility", "volume_ma", "price_change_pct", "high_low_range", "vwap",
    "taker_imbalance", "atr", "drawdown",
)  # fmt: skip
_COLUMNS = ", ".join(("timestamp", *FLOATS, "has_gap", "revision", "written_at"))
_OF_SERIES = "WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s AND window_bars = %(window)s"


def stats_rows(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of the statistics of a symbol; with `as_of`, the rows that were written by then."""
    query = by_stamp(query)
    scaled = dict.fromkeys(FLOATS, "")
    if query["annualised"]:
        bars_a_year = YEAR_S / TIMEFRAMES_S[query["timeframe"]]
        scaled["volatility"] = f" * sqrt({bars_a_year!r})"
        scaled["realised_volatility"] = f" * sqrt({bars_a_year!r} / %(window)s)"
    floats = ", ".join(f"{name}{by} AS {name}" for name, by in scaled.items())
    columns = f"{', '.join(map(finite, FLOATS))}, has_gap, revision, {instant('written_at')} AS written_at, %(window)s AS window"
    found = f"SELECT timestamp AS at, {floats}, has_gap, revision, written_at FROM ({stats_versions(query)}) AS versions"
    by = sort(query["order"]).replace("timestamp", "at")
    shown = f"SELECT {instant('at')} AS timestamp, {columns} FROM page ORDER BY {by}"
    return one_page(stores, query, "stats", found, "at DESC", shown, us("at"))


def stats_versions(query: Mapping[str, Any]) -> str:
    """SQL of the rows of a series, one of each time."""
    if not query.get("as_of"):
        return f"SELECT {_COLUMNS} FROM price_stats {_OF_SERIES}{within(query)}"
    known = f"{_OF_SERIES}{within(query)} AND written_at <= %(as_of)s"
    return (
        f"SELECT {_COLUMNS} FROM price_stats {known}"
        f" UNION ALL SELECT {_COLUMNS} FROM stats_revisions {known} AND replaced_at > %(as_of)s"
    )
