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

from web.queries.pieces import instant, within
from web.stores import Stores

#: How far before now, or before `end`, the windows reach after the hint; the last one has no start.
_WINDOWS = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=4), timedelta(days=2), timedelta(days=30))
_NONE = '{"ticks": [], "count": 0}'


def newest_ticks(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"ticks": [...], "count"}`: the newest `limit` of `[start, end)`, sorted by `order`."""
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sources WHERE symbol = %(symbol)s", query)
        if cursor.fetchone() is None:
            return _NONE  # each symbol is registered before its first tick
        first, *wider = window_starts(cursor, query, stores.settings.timeframes[0])
        text, count = _read(cursor, {**query, "start": first})
        if count == query["limit"] or not wider:
            return text
        *windows, last = wider
        enough = (start for start in windows if _holds_limit(cursor, {**query, "start": start}))
        return _read(cursor, {**query, "start": next(enough, last)})[0]


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
    """Start of the newest bars that together hold `limit` ticks; each bar has at least one."""
    bars = (
        "SELECT timestamp, tick_count FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(timeframe)s"
        f"{within(query)} ORDER BY timestamp DESC LIMIT %(limit)s"
    )
    cursor.execute(
        "SELECT min(timestamp) FROM (SELECT timestamp, sum(tick_count) OVER (ORDER BY timestamp DESC) - tick_count AS newer"
        f" FROM ({bars}) AS bars) AS counted WHERE newer < %(limit)s",
        {**query, "timeframe": timeframe},
    )
    row = cursor.fetchone()
    return row[0] if row else None


def _holds_limit(cursor: Cursor, query: Mapping[str, Any]) -> bool:
    """True if the window has `limit` ticks; far cheaper than reading them."""
    ticks = f"SELECT 1 FROM raw_ticks WHERE symbol = %(symbol)s{within(query)} LIMIT %(limit)s"
    cursor.execute(f"SELECT count(*) = %(limit)s FROM ({ticks}) AS ticks", query)
    row = cursor.fetchone()
    return bool(row and row[0])


def _read(cursor: Cursor, query: Mapping[str, Any]) -> tuple[str, int]:
    way = "DESC" if query["order"] == "desc" else "ASC"
    newest = (
        "SELECT symbol, timestamp AS at, price, size, side, trade_id, seq FROM raw_ticks WHERE symbol = %(symbol)s"
        f"{within(query)} ORDER BY timestamp DESC, coalesce(seq, 0) DESC, trade_id DESC LIMIT %(limit)s"
    )
    rows = (
        f"SELECT symbol, {instant('at')} AS timestamp, price, size, side, trade_id, seq FROM ({newest}) AS newest"
        f" ORDER BY at {way}, coalesce(seq, 0) {way}, trade_id {way}"
    )
    cursor.execute(
        "SELECT json_build_object('ticks', coalesce(json_agg(listed), '[]'), 'count', count(*))::text, count(*)"
        f" FROM ({rows}) AS listed",
        query,
    )
    text, count = cursor.fetchone()  # type: ignore[misc]
    return text, count
