# ruff: noqa: S608 - only constants of this module are text; values travel as parameters
"""What the Binance routes read from PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from psycopg2.extensions import cursor as Cursor

from common.codec import parse_iso_us
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us
from web.binance.intervals import Interval
from web.binance.shapes import Slot, nobody_traded
from web.queries.ticks import newest_ticks
from web.stores import Stores

_EDGE = "SELECT timestamp FROM processed_bars WHERE symbol = %s AND timeframe = %s ORDER BY timestamp {} LIMIT 1"
#: The bars of a source timeframe, and after the last of them those of the finest: what has closed of the slot that still grows.
_UP_TO_DATE = """
WITH source AS (
    SELECT * FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(source)s
        AND timestamp >= %(first)s AND timestamp < %(end)s),
tail AS (
    SELECT * FROM processed_bars WHERE symbol = %(symbol)s AND timeframe = %(finest)s AND %(source)s <> %(finest)s
        AND timestamp >= coalesce((SELECT max(timestamp) FROM source) + %(source_s)s * interval '1 second', %(first)s)
        AND timestamp < %(end)s),
bars AS (SELECT * FROM source UNION ALL SELECT * FROM tail)
"""
_BARS = f"""{_UP_TO_DATE}
SELECT timestamp, open, high, low, close, volume, quote_volume, tick_count, taker_buy_volume, taker_buy_quote_volume
FROM bars ORDER BY timestamp
"""
_DAY = f"""{_UP_TO_DATE}
SELECT sum(volume) AS volume, sum(quote_volume) AS quote, sum(tick_count) AS count, max(high) AS high, min(low) AS low,
    (array_agg(open ORDER BY timestamp))[1] AS open, min(first_trade_id) AS first_id, max(last_trade_id) AS last_id
FROM bars
"""
_BEFORE = """
SELECT timestamp, close FROM processed_bars WHERE symbol = %s AND timeframe = %s AND timestamp < %s
ORDER BY timestamp DESC LIMIT 1
"""
_TICKS = """SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint, price, size, side FROM raw_ticks
WHERE symbol = %(symbol)s"""
_LATEST_PRICES = """
SELECT s.symbol, b.close FROM unnest(%s::text[]) AS s (symbol), LATERAL (
    SELECT close FROM processed_bars p WHERE p.symbol = s.symbol AND p.timeframe = %s ORDER BY timestamp DESC LIMIT 1) AS b
ORDER BY s.symbol
"""
_SCALES = """
SELECT s.symbol, max(scale(trim_scale(p.price))), max(scale(trim_scale(p.size))) FROM unnest(%s::text[]) AS s (symbol)
LEFT JOIN LATERAL (SELECT greatest(b.high, b.low) AS price, b.volume AS size FROM processed_bars b
    WHERE b.symbol = s.symbol AND b.timeframe = %s ORDER BY timestamp DESC LIMIT 200) AS p ON true
GROUP BY s.symbol ORDER BY s.symbol
"""


def known_venue_symbols(stores: Stores) -> frozenset[str]:
    """Symbols that have ticks."""
    row = stores.row("SELECT coalesce(array_agg(symbol), '{}') FROM sources")
    assert row, "an aggregate always answers a row"
    return frozenset(row[0])


def slots_between(
    stores: Stores, symbol: str, interval: Interval, start_us: int | None, end_us: int | None, limit: int
) -> tuple[list[Slot], int, int]:
    """Slots, oldest first, and the range `[first_us, end_us)` of their starts: from `start_us` on, or the newest `limit`.

    The first slot may be one before the range, so that a quiet start has a close. Empty where nothing was traded.
    """
    built = stores.settings.timeframes
    source, finest = interval.source(built), min(built, key=timeframe_us)
    with stores.page_session() as connection, connection.cursor() as cursor:
        known = _known_range_us(cursor, symbol, {source, finest}, interval)
        if known is None:
            return [], 0, 0
        first_us, after_us = _wanted_us(interval, known, start_us, end_us, limit)
        if first_us >= after_us:
            return [], 0, 0
        cursor.execute(_BARS, _up_to_date(stores, symbol, source, first_us, after_us))
        slots = _collapsed(interval, cursor.fetchall())
        cursor.execute(_BEFORE, (symbol, source, from_us(first_us)))
        before = cursor.fetchone()
    if before:
        slots.insert(0, nobody_traded(to_us(before[0]), before[1]))
    return slots, first_us, after_us


def _known_range_us(cursor: Cursor, symbol: str, timeframes: set[str], interval: Interval) -> tuple[int, int] | None:
    """Start of the symbol's first slot, and of its last; None without bars."""
    edges = []
    for timeframe in timeframes:
        for way in ("ASC", "DESC"):
            cursor.execute(_EDGE.format(way), (symbol, timeframe))
            edges += [interval.start_us(to_us(row[0])) for row in cursor.fetchall()]
    return (min(edges), max(edges)) if edges else None


def _wanted_us(
    interval: Interval, known: tuple[int, int], start_us: int | None, end_us: int | None, limit: int
) -> tuple[int, int]:
    """The range of starts `[first, after)`: at most `limit` slots, of those that are known."""
    oldest, newest = known
    last = newest if end_us is None else min(newest, interval.start_us(end_us))
    if start_us is None:
        first = max(oldest, interval.moved_us(last, 1 - limit))
    else:
        slot = interval.start_us(start_us)
        first = max(oldest, slot if slot == start_us else interval.moved_us(slot, 1))
        last = min(last, interval.moved_us(first, limit - 1))
    return first, interval.moved_us(last, 1)


def _collapsed(interval: Interval, bars: Sequence[tuple[Any, ...]]) -> list[Slot]:
    """Bars, oldest first, as slots."""
    slots: dict[int, Slot] = {}
    for moment, opened, high, low, close, volume, quote, count, taker, taker_quote in bars:
        start_us = interval.start_us(to_us(moment))
        slot = slots.get(start_us)
        if slot is None:
            slots[start_us] = Slot(start_us, opened, high, low, close, volume, quote, count, taker, taker_quote)
        else:
            slots[start_us] = Slot(
                start_us, slot.open, max(slot.high, high), min(slot.low, low), close, slot.volume + volume, slot.quote + quote,
                slot.trades + count, slot.taker_volume + taker, slot.taker_quote + taker_quote,
            )  # fmt: skip
    return list(slots.values())


def ticks_from_id(stores: Stores, symbol: str, from_id: int, limit: int) -> list[tuple[Any, ...]]:
    """Ticks by the venue's id, ascending from it on: (trade_id, event_us, price, size, side)."""
    return _ticks(stores, " AND trade_id >= %(from_id)s ORDER BY trade_id LIMIT %(limit)s",
                  {"symbol": symbol, "from_id": from_id, "limit": limit})  # fmt: skip


def ticks_between(stores: Stores, symbol: str, start_us: int, end_us: int | None, limit: int) -> list[tuple[Any, ...]]:
    """The first ticks of `[start_us, end_us]`, in the order of time."""
    until = " AND timestamp <= %(end)s" if end_us is not None else ""
    params = {"symbol": symbol, "start": from_us(start_us), "end": from_us(end_us or 0), "limit": limit}
    order = "ORDER BY timestamp, coalesce(seq, 0), trade_id"
    return _ticks(stores, f" AND timestamp >= %(start)s{until} {order} LIMIT %(limit)s", params)


def _ticks(stores: Stores, which: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with stores.page_session() as connection, connection.cursor() as cursor:
        cursor.execute(_TICKS + which, params)
        return cursor.fetchall()


def latest_prices(stores: Stores, symbols: Sequence[str]) -> list[tuple[str, Decimal]]:
    """Close of each symbol's newest bar."""
    finest = min(stores.settings.timeframes, key=timeframe_us)
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(_LATEST_PRICES, (list(symbols), finest))
        return cursor.fetchall()


def scales(stores: Stores, symbols: Sequence[str]) -> list[tuple[str, int | None, int | None]]:
    """(symbol, digits of fraction of its prices, of its sizes), as seen in its newest bars; None without bars."""
    finest = min(stores.settings.timeframes, key=timeframe_us)
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(_SCALES, (list(symbols), finest))
        return cursor.fetchall()


def newest_tick(stores: Stores, symbol: str) -> tuple[Any, ...] | None:
    """A symbol's newest tick, as `ticks_between` gives them; None without one."""
    rows = newest_ticks_of(stores, symbol, 1)
    return rows[0] if rows else None


def newest_ticks_of(stores: Stores, symbol: str, limit: int) -> list[tuple[Any, ...]]:
    """A symbol's newest ticks, oldest first, as `ticks_between` gives them."""
    text = newest_ticks(stores, {"symbol": symbol, "limit": limit, "order": "asc"})
    ticks = json.loads(text, parse_float=Decimal)["ticks"]
    return [
        (tick["trade_id"], parse_iso_us(tick["timestamp"]), Decimal(tick["price"]), Decimal(tick["size"]), tick["side"])
        for tick in ticks
    ]


def day_of(stores: Stores, symbol: str) -> dict[str, Any] | None:
    """Sums over the 24 hours before a symbol's last trade, from the start of a minute on; None without closed bars."""
    last = newest_tick(stores, symbol)
    if last is None:
        return None
    _, last_us, price, size, _ = last
    first_us = last_us - US_PER_DAY
    first_us -= first_us % 60_000_000
    source = Interval("1m").source(stores.settings.timeframes)
    with stores.session(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(_DAY, _up_to_date(stores, symbol, source, first_us, last_us + 1))
        names = [column.name for column in cursor.description or ()]
        sums = dict(zip(names, cursor.fetchone() or (), strict=True))
        cursor.execute(_BEFORE, (symbol, source, from_us(first_us)))
        before = cursor.fetchone()
    if sums["count"] is None:
        return None
    closing = {"last": price, "last_size": size, "open_ms": first_us // 1000, "close_ms": last_us // 1000}
    return {**sums, **closing, "count": int(sums["count"]), "before": before[1] if before else None}


def _up_to_date(stores: Stores, symbol: str, source: str, first_us: int, end_us: int) -> dict[str, Any]:
    """Parameters of `_UP_TO_DATE`."""
    return {
        "symbol": symbol, "source": source, "finest": min(stores.settings.timeframes, key=timeframe_us),
        "source_s": timeframe_us(source) // 1_000_000, "first": from_us(first_us), "end": from_us(end_us),
    }  # fmt: skip
