# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""The registry of pair series: list, add, remove."""

from collections.abc import Mapping
from typing import Any

from common.database import transaction
from common.pairseries import LIVE, Series, SeriesKey, add, remove
from web.queries.pieces import as_list, instant
from web.stores import Stores

_LAST = """
(SELECT r.timestamp FROM spread_analytics r WHERE (r.symbol_pair, r.timeframe, r.window_bars, r.method)
    = (s.symbol_pair, s.timeframe, s.window_bars, s.method) ORDER BY r.timestamp DESC LIMIT 1)
"""
_ROW = f"""
SELECT symbol_pair, symbols, timeframe, window_bars AS window, method,
    CASE WHEN in_settings THEN 'settings' WHEN requested THEN 'request' ELSE 'computed' END AS origin, {LIVE} AS live,
    {instant("added_at")} AS added_at, {instant("removed_at")} AS removed_at, {instant(_LAST)} AS last_row_at FROM pair_series s
"""


def list_pairs(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"pairs": [...], "count"}` of the live series; with `all`, also of those that have rows alone."""
    filters = ["true" if query.get("all") else LIVE]
    filters += [f"{column} = %({name})s" for name, column in _FILTERS.items() if query.get(name) is not None]
    return stores.text(as_list("pairs", f"{_ROW} WHERE {' AND '.join(filters)} ORDER BY 1, 3, 4, 5"), query)


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
