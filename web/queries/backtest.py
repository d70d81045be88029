# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Rows of a pair for a backtest."""

from collections.abc import Mapping
from typing import Any

from common.backtest import PairRow
from web.queries.pieces import within
from web.stores import Stores

_ROW = """(extract(epoch FROM timestamp) * 1000000)::bigint AS start_us, symbol1_price::double precision,
    symbol2_price::double precision, hedge_ratio, z_score, carried <> '' AS carried"""
_OF_SERIES = (
    "WHERE symbol_pair = %(symbol_pair)s AND timeframe = %(timeframe)s AND window_bars = %(window)s AND method = %(method)s"
)


def rows_of_pair(stores: Stores, query: Mapping[str, Any]) -> list[PairRow]:
    """The newest `limit` rows of a range, oldest first; as they were first written, or as they are after revisions."""
    versions = f"SELECT {_ROW} FROM spread_analytics {_OF_SERIES}{within(query)}"
    if query["revisions"] == "first":
        versions = (
            f"{versions} AND revision = 0 UNION ALL"
            f" SELECT {_ROW} FROM spread_revisions {_OF_SERIES}{within(query)} AND revision = 0"
        )
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({versions}) AS versions ORDER BY start_us DESC LIMIT %(limit)s", query)
        return [PairRow(*row) for row in reversed(cursor.fetchall())]
