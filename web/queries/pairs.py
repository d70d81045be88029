# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""The registry of pair series: list, add, remove."""

from collections.abc import Mapping
from typing import Any

from common.database import transaction
from common.pairseries import LIVE, Series, SeriesKey, add, remove
from web.queries.pieces import as_list, instant
from web.queries.spread import shown_columns
from web.stores import Stores

_NEWEST = """
FROM spread_analytics r WHERE (r.symbol_pair, r.timeframe, r.window_bars, r.method)
    = (s.symbol_pair, s.timeframe, s.window_bars, s.method) ORDER BY r.timestamp DESC LIMIT 1
"""
_LAST = f"(SELECT r.timestamp {_NEWEST})"
_COLUMNS = f"""symbol_pair, symbols, timeframe, window_bars AS window, method,
    CASE WHEN in_settings THEN 'settings' WHEN requested THEN 'request' ELSE 'computed' END AS origin, {LIVE} AS live,
    {instant("added_at")} AS added_at, {instant("removed_at")} AS removed_at, {instant(_LAST)} AS last_row_at"""
_ROW = f"SELECT {_COLUMNS} FROM pair_series s"


def list_pairs(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"pairs": [...], "count"}` of the live series; `all`: also of those with rows alone; `newest`: each with its last row."""
    newest = f", {_newest_row(query)} AS newest" if query.get("newest") else ""
    filters = ["true" if query.get("all") else LIVE]
    filters += [f"{column} = %({name})s" for name, column in _FILTERS.items() if query.get(name) is not None]
    rows = f"SELECT {_COLUMNS}{newest} FROM pair_series s WHERE {' AND '.join(filters)} ORDER BY 1, 3, 4, 5"
    return stores.text(as_list("pairs", rows), query)


def _newest_row(query: Mapping[str, Any]) -> str:
    columns = f"{instant('timestamp')} AS timestamp, {shown_columns(query)}, window_bars AS window, method"
    return f"(SELECT row_to_json(newest) FROM (SELECT {columns} {_NEWEST}) AS newest)"


_FILTERS = {"symbol_pair": "symbol_pair", "timeframe": "timeframe", "window": "window_bars", "method": "method"}


def add_pair(stores: Stores, series: Series) -> tuple[str, str | None]:
    """Make a series live; answers its row as JSON, and the task that fills its past (None: it was live already).

    Raises:
        ValueError: there are as many series as there may be.
    """
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        task_id = add(cursor, series)
        cursor.execute(
            f"SELECT row_to_json(found)::text FROM ({_ROW}"
            " WHERE (symbol_pair, timeframe, window_bars, method) = (%s, %s, %s, %s)) AS found",
            tuple(series.key),
        )
        row = cursor.fetchone()
    assert row, "just added"
    return str(row[0]), task_id


def remove_pair(stores: Stores, pair: str, query: Mapping[str, Any]) -> list[SeriesKey]:
    """Stop the live series of a pair that the query names; answers which."""
    filters = {column: query[name] for name, column in _FILTERS.items() if query.get(name) is not None}
    with stores.session() as connection, transaction(connection), connection.cursor() as cursor:
        return remove(cursor, pair, filters)
