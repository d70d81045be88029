# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""The newest ticks of a symbol.

`raw_ticks` has no index by (symbol, time): it would cost every writer. So the ticks are read from a window of time, and
bars say how far back the window must reach: they know how many ticks each second holds. The bars are a hint alone: as
soon as a window holds `limit` ticks these are the newest, and if it does not, a wider one is read.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import cursor as Cursor

from common.timeframes import TIMEFRAMES_S
from common.trades import from_us
from web.listing import Listing
from web.queries.pieces import quoted, within, written
from web.stores import Stores, copied

#: How far before now, or before `end`, the windows reach after the hint; the last one has no start.
_WINDOWS = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=4), timedelta(days=2), timedelta(days=30))
_COLUMNS = ("timestamp", "price", "size", "side", "trade_id", "seq")
_TICKS = Listing("ticks", _COLUMNS, frozenset({"timestamp"}), lambda at_us, row: (at_us, _place(row[5]), row[4]))


def newest_ticks(stores: Stores, query: Mapping[str, Any]) -> str:
    """A page of ticks, the newest `limit` of `[start, end)`, sorted by `order`."""
    with stores.page_session() as connection, connection.cursor() as cursor:
        cells = _newest(cursor, _paged(query), stores.settings.timeframes[0])
    return _TICKS.page(cells, query, {"symbol": query["symbol"]})


def _newest(cursor: Cursor, paged: Mapping[str, Any], timeframe: str) -> list[str]:
    first, *wider = window_starts(cursor, {**paged, "limit": paged["fetch"]}, timeframe)
    cells = _read(cursor, {**paged, "start": first})
    if len(cells) == paged["fetch"] * len(_COLUMNS) or not wider or not _is_known(cursor, paged):
        return cells
    *windows, last = wider
    enough = (start for start in windows if _holds_enough(cursor, {**paged, "start": start}))
    return _read(cursor, {**paged, "start": next(enough, last)})


def _is_known(cursor: Cursor, query: Mapping[str, Any]) -> bool:
    """Each symbol is registered before its first tick."""
    cursor.execute("SELECT 1 FROM sources WHERE symbol = %(symbol)s", query)
    return cursor.fetchone() is not None


def _paged(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query with its cursor as an `end`, by which leaves are left out, and the place among equal stamps."""
    paged = {**query, "fetch": query["limit"] + 1}
    if query.get("cursor"):
        at_us, place, trade_id = query["cursor"]
        end = from_us(at_us) + timedelta(microseconds=1)
        paged |= {"end": min(end, query.get("end") or end), "at": from_us(at_us), "place": place, "trade_id": trade_id}
    return paged


def _among(query: Mapping[str, Any]) -> str:
    older = " AND (timestamp, coalesce(seq, 0), trade_id) < (%(at)s, %(place)s, %(trade_id)s)" if query.get("cursor") else ""
    return f"FROM raw_ticks WHERE symbol = %(symbol)s{within(query)}{older}"


def window_starts(cursor: Cursor, query: Mapping[str, Any], timeframe: str) -> Iterator[datetime | None]:
    """Starts of ever wider windows, ending with the query's own."""
    floor = query.get("start")
    edge = query.get("end") or datetime.now(UTC)
    hint = _hint(cursor, query, timeframe)
    reached = edge + timedelta(seconds=1)
    for start in (hint, *(edge - window for window in _WINDOWS)):
        if start is None or start >= reached:
            continue
        if floor is not None and start <= floor:
            break
        reached = start
        yield start
    yield floor


def _hint(cursor: Cursor, query: Mapping[str, Any], timeframe: str) -> datetime | None:
    """Start of the newest bars that together hold `limit` ticks; a bar that reaches beyond `end` counts for none."""
    bars = (
        "SELECT timestamp, tick_count FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s"
        f"{within(query)} ORDER BY timestamp DESC LIMIT %(limit)s"
    )
    whole = "CASE WHEN timestamp > %(whole_until)s THEN 0 ELSE tick_count END"
    cursor.execute(
        f"SELECT min(timestamp) FROM (SELECT timestamp, sum({whole}) OVER (ORDER BY timestamp DESC) - {whole} AS newer"
        f" FROM ({bars}) AS bars) AS counted WHERE newer < %(limit)s",
        {**query, "timeframe": timeframe, "whole_until": _whole_until(query, timeframe)},
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _whole_until(query: Mapping[str, Any], timeframe: str) -> datetime:
    """A bar that starts later reaches beyond `end`."""
    return query["end"] - timedelta(seconds=TIMEFRAMES_S[timeframe]) if query.get("end") else datetime.max.replace(tzinfo=UTC)


def _holds_enough(cursor: Cursor, query: Mapping[str, Any]) -> bool:
    """True if the window has `fetch` ticks; far cheaper than reading them."""
    ticks = f"SELECT 1 {_among(query)} LIMIT %(fetch)s"
    cursor.execute(f"SELECT count(*) = %(fetch)s FROM ({ticks}) AS ticks", query)
    row = cursor.fetchone()
    return bool(row and row[0])


def _read(cursor: Cursor, query: Mapping[str, Any]) -> list[str]:
    """The window's newest `fetch` ticks, newest first."""
    columns = f"timestamp, {written(('price', 'size'), query)}, {quoted('side')}, trade_id, seq"
    newest_first = "timestamp DESC, coalesce(seq, 0) DESC, trade_id DESC"
    return copied(cursor, f"SELECT {columns} {_among(query)} ORDER BY {newest_first} LIMIT %(fetch)s", query)


def _place(seq: str) -> str:
    return "0" if seq == "null" else seq
