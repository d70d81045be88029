"""Closed bars again from `raw_ticks`, by one SQL statement a timeframe: what late trades, imports and doubts end in.

A mark is rebuilt once the writers have passed the entry that made it, and deleted in the same transaction; only bars that the
aggregator has closed are touched, the open ones are its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator import barstore
from aggregator.alerting import inbox
from aggregator.barstore import BarLeaves, Settled
from common.database import transaction
from common.gaps import keep_missing, missing_pieces, row_of
from common.streams import stream_of
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us

#: Ticks of one symbol aggregated in one transaction at most, about: longer ranges are cut at UTC days.
_AGGREGATE = f"""
INSERT INTO closing ({", ".join(barstore.STAGED)})
SELECT symbol, %(timeframe)s, bar, opens[1], high, low, closes[1], volume, n, quote, buys, quote_buys, first_ids[1], last_ids[1],
    CASE WHEN EXISTS (SELECT 1 FROM gaps g WHERE g.symbol = %(symbol)s AND g.state <> 'closed'
            AND g.from_us < (extract(epoch FROM bar) * 1000000)::bigint + %(length_us)s
            AND g.to_us >= (extract(epoch FROM bar) * 1000000)::bigint) THEN 'gap'
        WHEN EXISTS (SELECT 1 FROM processed_bars b WHERE b.symbol = %(symbol)s AND b.timeframe = %(timeframe)s
            AND b.timestamp = bar AND b.status = 'partial') THEN 'partial'
        ELSE 'complete' END
FROM (
    SELECT symbol, date_bin(%(length)s * interval '1 microsecond', timestamp, 'epoch'::timestamptz) AS bar,
        array_agg(price ORDER BY timestamp, coalesce(seq, 0), trade_id) AS opens,
        array_agg(price ORDER BY timestamp DESC, coalesce(seq, 0) DESC, trade_id DESC) AS closes,
        array_agg(trade_id ORDER BY timestamp, coalesce(seq, 0), trade_id) AS first_ids,
        array_agg(trade_id ORDER BY timestamp DESC, coalesce(seq, 0) DESC, trade_id DESC) AS last_ids,
        max(price) AS high, min(price) AS low, sum(size) AS volume, count(*) AS n, sum(price * size) AS quote,
        coalesce(sum(size) FILTER (WHERE side = 'b'), 0) AS buys,
        coalesce(sum(price * size) FILTER (WHERE side = 'b'), 0) AS quote_buys
    FROM raw_ticks WHERE symbol = %(symbol)s AND timestamp >= %(start)s AND timestamp < %(end)s
    GROUP BY symbol, bar) AS bars
"""  # noqa: S608
#: Bars over ticks that are gone (refused by PostgreSQL after they were counted): kept as revisions.
_EMPTY = """
WITH gone AS (
    DELETE FROM processed_bars b WHERE b.symbol = %(symbol)s AND b.timeframe = %(timeframe)s
        AND b.timestamp >= %(start)s AND b.timestamp < %(end)s
        AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.timeframe = b.timeframe AND c.timestamp = b.timestamp)
    RETURNING symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap, taker_buy_volume,
        taker_buy_quote_volume, first_trade_id, last_trade_id, status, revision, written_at),
followed AS (INSERT INTO rebuilt_bars (symbol, timeframe, timestamp, is_new) SELECT symbol, timeframe, timestamp, false FROM gone)
INSERT INTO bar_revisions (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap,
    taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, status, revision, written_at)
SELECT * FROM gone ON CONFLICT DO NOTHING
"""
_FOLLOW = "INSERT INTO rebuilt_bars (symbol, timeframe, timestamp, is_new) VALUES %s"
_LOCK = 0x6765_6D73
_GAPS = """
SELECT id, symbol, first_id, last_id, from_us, to_us, state, note, found_at FROM gaps
WHERE symbol = %s AND state <> 'closed' AND from_us <= %s AND to_us >= %s ORDER BY id FOR UPDATE SKIP LOCKED
"""
_STILL_OPEN = """
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory, due_us)
SELECT symbol, greatest(first_us, %(closed_us)s - %(closed_us)s %% length), last_us, stream, entry_ms, entry_seq, reason, true,
    last_us - last_us %% length + length
FROM dirty_ranges, unnest(%(lengths)s::bigint[]) AS length
WHERE id = ANY(%(marks)s) AND doubts_memory AND due_us = 0
    AND last_us - last_us %% length + length > %(closed_us)s
"""


class Span(NamedTuple):
    """Stamps `[first_us, last_us]` of a symbol."""

    symbol: str
    first_us: int
    last_us: int


def rebuild(
    connection: Connection, leaves: BarLeaves, span: Span, timeframes: Sequence[str], closed_us: int, shards: int,
    marks: Sequence[int] = (),
) -> list[Settled]:  # fmt: skip
    """Rebuild every bar that ends at or before `closed_us` and overlaps the span; answers what changed.

    These marks are deleted; one that doubts the aggregator's memory leaves a mark for each of its bars that is still open.
    """
    leaves.ensure(connection, range(span.first_us, span.last_us + 1, US_PER_DAY))
    leaves.ensure(connection, [max(0, span.first_us - US_PER_DAY), span.last_us])
    with transaction(connection), connection.cursor() as cursor:  # of its own: the aggregator may want to note the same gap
        _shrink_filled_gaps(cursor, span, shards)
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, span.symbol))  # the later one sees more ticks
        barstore.open_staging(cursor)
        for timeframe in timeframes:
            for start_us, end_us in _pieces(span, timeframe_us(timeframe), closed_us):
                _stage_piece(cursor, span.symbol, timeframe, start_us, end_us)
        settled = barstore.settle(cursor)
        if settled:
            rows = [(bar.symbol, bar.timeframe, bar.timestamp, bar.is_new) for bar in settled]
            execute_values(cursor, _FOLLOW, rows, page_size=5_000)
            inbox.note(cursor, "bar", inbox.noted_bars(settled))
        if marks:
            lengths = [timeframe_us(timeframe) for timeframe in timeframes]
            cursor.execute(_STILL_OPEN, {"marks": list(marks), "lengths": lengths, "closed_us": closed_us})
            cursor.execute("DELETE FROM dirty_ranges WHERE id = ANY(%s)", (list(marks),))
        _count_new(cursor, settled)
    return settled


def _pieces(span: Span, length_us: int, closed_us: int) -> list[tuple[int, int]]:
    """The span in whole closed bars, cut so that no statement looks at much more than a day."""
    start_us = span.first_us - span.first_us % length_us
    end_us = min(span.last_us - span.last_us % length_us + length_us, closed_us - closed_us % length_us)
    step_us = max(US_PER_DAY, length_us)
    return [(at, min(at + step_us, end_us)) for at in range(start_us, end_us, step_us)]


def _stage_piece(cursor: Cursor, symbol: str, timeframe: str, start_us: int, end_us: int) -> None:
    length_us = timeframe_us(timeframe)
    named = {
        "symbol": symbol, "timeframe": timeframe, "start": from_us(start_us), "end": from_us(end_us),
        "length": length_us, "length_us": length_us,
    }  # fmt: skip
    cursor.execute(_AGGREGATE, named)
    cursor.execute(_EMPTY, named)


def _shrink_filled_gaps(cursor: Cursor, span: Span, shards: int) -> None:
    """Gaps over the span name what is missing now; bars that may say `gap` no longer are marked for the next turn."""
    stream = stream_of(span.symbol, shards)
    cursor.execute(_GAPS, (span.symbol, span.last_us, span.first_us))
    for row in map(row_of, cursor.fetchall()):
        keep_missing(cursor, row, missing_pieces(cursor, row.gap, span.first_us, span.last_us), stream)


def _count_new(cursor: Cursor, settled: Sequence[Settled]) -> None:
    """`stats/` adds up these counters instead of counting bars."""
    new = sum(bar.is_new for bar in settled)
    if new:
        cursor.execute("UPDATE checkpoints SET bars = bars + %s WHERE shard = (SELECT min(shard) FROM checkpoints)", (new,))
