# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""Bars of a symbol and timeframe."""

from collections.abc import Mapping
from typing import Any

from common.timeframes import TIMEFRAMES_S
from web.listing import Listing
from web.paging import by_stamp
from web.queries.pieces import within, written
from web.stores import Stores

_BEFORE = ("open", "high", "low", "close", "volume")
_AFTER = ("quote_volume", "vwap", "taker_buy_volume", "taker_buy_quote_volume")
_COLUMNS = ("timestamp", *_BEFORE, "tick_count", *_AFTER, "status", "revision")
_PRICES = ", ".join(_COLUMNS[1:])
_BARS = Listing("bars", _COLUMNS, frozenset({"timestamp", "status"}), lambda at_us, _: (at_us,))
_OF_SYMBOL = "FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s"
#: What a bar without a trade looks like where it is drawn: the close before it, and nothing traded.
_FILLED = ", ".join(
    f"CASE WHEN bar.timestamp = slot THEN bar.{name} ELSE {empty} END AS {name}"
    for name, empty in {
        **dict.fromkeys(("open", "high", "low", "close"), "bar.close"),
        **dict.fromkeys(("volume", "tick_count", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "revision"), "0"),
        "vwap": "NULL",
        "status": "'filled'",
    }.items()
)


def newest_bars(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of bars, the newest `limit` of `[start, end)`; with `fill`, also the bars that nobody traded in."""
    query = {**by_stamp(query), "step_s": TIMEFRAMES_S[query["timeframe"]]}
    found = _filled(query) if query.get("fill") else f"SELECT timestamp AS at, {_PRICES} {bar_versions(query)}"
    columns = f"at, {written(_BEFORE, query)}, tick_count, {written(_AFTER, query)}, status, revision"
    newest = f"SELECT {columns} FROM ({found} ORDER BY at DESC LIMIT %(fetch)s) AS found ORDER BY at DESC"
    return _BARS.page(stores.cells(newest, query), query, {name: query[name] for name in ("symbol", "timeframe")})


def bar_versions(query: Mapping[str, Any]) -> str:
    """SQL of the bars of a symbol, one of each time: as they are, or with `as_of` as they were known then."""
    if not query.get("as_of"):
        return f"{_OF_SYMBOL}{within(query)}"
    columns, known = f"symbol, timeframe, timestamp, {_PRICES}", f"{within(query)} AND written_at <= %(as_of)s"
    replaced = _OF_SYMBOL.replace("processed_bars", "bar_revisions")
    both = f"SELECT {columns} {_OF_SYMBOL}{known} UNION ALL SELECT {columns} {replaced}{known} AND replaced_at > %(as_of)s"
    return f"FROM ({both}) AS versions"


def _filled(query: Mapping[str, Any]) -> str:
    """SQL for a bar in each slot up to the newest bar, or up to the page before; before the symbol's first bar there is none."""
    step = "%(step_s)s * interval '1 second'"
    newest = f"SELECT timestamp AS last {_OF_SYMBOL}{within(query)} ORDER BY timestamp DESC LIMIT 1"
    if query.get("cursor"):
        newest = f"SELECT date_bin({step}, %(end)s - interval '1 microsecond', 'epoch') AS last"
    reach = f"last - (%(fetch)s - 1) * {step}"
    first = f"greatest({reach}, %(start)s)" if query.get("start") else reach
    before = f"SELECT * {_OF_SYMBOL} AND timestamp <= slot ORDER BY timestamp DESC LIMIT 1"
    return (
        f"SELECT slot AS at, {_FILLED} FROM ({newest}) AS newest,"
        f" generate_series(last, {first}, -({step})) AS slot, LATERAL ({before}) AS bar"
    )
