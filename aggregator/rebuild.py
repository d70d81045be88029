"""Closed bars again from `raw_ticks`, by SQL: what late trades, imports and doubts end in.

The ticks are aggregated once, at the length that all timeframes are made of; the bars are rolled up from those parts.

A mark is rebuilt once the writers have passed the entry that made it, and deleted in the same transaction; only bars that the
aggregator has closed are touched, the open ones are its own.
"""

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator import barstore
from aggregator.alerting import inbox
from aggregator.barstore import BarLeaves, Settled
from aggregator.keeping import keep
from common.database import transaction
from common.gaps import keep_missing, missing_pieces, row_of
from common.streams import stream_of
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us

#: What a piece of ticks is aggregated into once, at the length that all timeframes are made of.
_PARTS = """CREATE TEMPORARY TABLE IF NOT EXISTS parts (start timestamptz, open numeric, high numeric, low numeric, close numeric,
    volume numeric, n bigint, quote numeric, buys numeric, quote_buys numeric, first_id bigint, last_id bigint)
    ON COMMIT DELETE ROWS"""
#: Sums by side first: a tick is added to two sums instead of four. Ends by a second look at the same ticks, for those at a part's
#: first and last stamp alone: ordering all ticks costs three times as much. Both looks are of one statement, so of one snapshot.
_AGGREGATE = """
WITH sums AS MATERIALIZED (
    SELECT start, min(first_at) AS first_at, max(last_at) AS last_at, max(high) AS high, min(low) AS low, sum(volume) AS volume,
        sum(n)::bigint AS n, sum(quote) AS quote, coalesce(sum(volume) FILTER (WHERE side = 'b'), 0) AS buys,
        coalesce(sum(quote) FILTER (WHERE side = 'b'), 0) AS quote_buys
    FROM (
        SELECT date_bin(%(part)s * interval '1 microsecond', timestamp, 'epoch'::timestamptz) AS start, side,
            min(timestamp) AS first_at, max(timestamp) AS last_at, max(price) AS high, min(price) AS low, sum(size) AS volume,
            count(*) AS n, sum(price * size) AS quote
        FROM raw_ticks WHERE symbol = %(symbol)s AND timestamp >= %(start)s AND timestamp < %(end)s GROUP BY 1, 2) AS of_side
    GROUP BY start),
ends AS MATERIALIZED (
    SELECT timestamp, array_agg(price ORDER BY coalesce(seq, 0), trade_id) AS prices,
        array_agg(trade_id ORDER BY coalesce(seq, 0), trade_id) AS ids
    FROM raw_ticks JOIN (SELECT first_at AS timestamp FROM sums UNION SELECT last_at FROM sums) AS at USING (timestamp)
    WHERE symbol = %(symbol)s AND timestamp >= %(start)s AND timestamp < %(end)s GROUP BY timestamp)
INSERT INTO parts
SELECT start, o.prices[1], high, low, c.prices[cardinality(c.prices)], volume, n, quote, buys, quote_buys,
    o.ids[1], c.ids[cardinality(c.ids)]
FROM sums JOIN ends o ON o.timestamp = first_at JOIN ends c ON c.timestamp = last_at
"""
_ROLL_UP = f"""
INSERT INTO closing ({", ".join(barstore.STAGED)})
SELECT %(symbol)s, %(timeframe)s, bar, opens[1], high, low, closes[1], volume, n, quote, buys, quote_buys, first_ids[1],
    last_ids[1],
    CASE WHEN EXISTS (SELECT 1 FROM gaps g WHERE g.symbol = %(symbol)s AND g.state <> 'closed'
            AND g.from_us < (extract(epoch FROM bar) * 1000000)::bigint + %(length)s
            AND g.to_us >= (extract(epoch FROM bar) * 1000000)::bigint) THEN 'gap'
        WHEN EXISTS (SELECT 1 FROM processed_bars b WHERE b.symbol = %(symbol)s AND b.timeframe = %(timeframe)s
            AND b.timestamp = bar AND b.status = 'partial') THEN 'partial'
        ELSE 'complete' END
FROM (
    SELECT date_bin(%(length)s * interval '1 microsecond', start, 'epoch'::timestamptz) AS bar,
        array_agg(open ORDER BY start) AS opens, array_agg(close ORDER BY start DESC) AS closes,
        array_agg(first_id ORDER BY start) AS first_ids, array_agg(last_id ORDER BY start DESC) AS last_ids,
        max(high) AS high, min(low) AS low, sum(volume) AS volume, sum(n)::bigint AS n, sum(quote) AS quote, sum(buys) AS buys,
        sum(quote_buys) AS quote_buys
    FROM parts WHERE start >= %(start)s AND start < %(end)s GROUP BY bar) AS bars
"""  # noqa: S608
#: Bars over ticks that are gone (refused by PostgreSQL after they were counted): kept as revisions.
_TICKLESS = """WHERE b.symbol = %(symbol)s AND b.timeframe = %(timeframe)s
        AND b.timestamp >= %(start)s AND b.timestamp < %(end)s
        AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.timeframe = b.timeframe AND c.timestamp = b.timestamp)"""
_EMPTY = f"""
WITH gone AS (
    DELETE FROM processed_bars b {_TICKLESS}
    RETURNING symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap, taker_buy_volume,
        taker_buy_quote_volume, first_trade_id, last_trade_id, status, revision, written_at),
followed AS (INSERT INTO rebuilt_bars (symbol, timeframe, timestamp, is_new) SELECT symbol, timeframe, timestamp, false FROM gone)
INSERT INTO bar_revisions (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap,
    taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, status, revision, written_at)
SELECT * FROM gone
"""  # noqa: S608
_LIFT_TICKLESS = barstore.LIFT.format(of=_TICKLESS)
_FOLLOW = "INSERT INTO rebuilt_bars (symbol, timeframe, timestamp, is_new) VALUES %s"
LOCK = 0x6765_6D73
#: A trade's stamp may lie beside those of the ids around it: a gap that it fills is looked for so far from it.
BESIDE_US = 60_000_000
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
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (LOCK, span.symbol))  # the later one sees more ticks
        _stage(cursor, span, timeframes, closed_us)
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


def _stage(cursor: Cursor, span: Span, timeframes: Sequence[str], closed_us: int) -> None:
    """Fill `closing` with the span's bars, a UTC day at a time: no bar is longer."""
    barstore.open_staging(cursor)
    cursor.execute(_PARTS)
    lengths = {timeframe: timeframe_us(timeframe) for timeframe in timeframes}
    ranges = {timeframe: _whole_bars(span, length_us, closed_us) for timeframe, length_us in lengths.items()}
    named = {"symbol": span.symbol, "part": gcd(*lengths.values())}
    for day_us in range(span.first_us - span.first_us % US_PER_DAY, span.last_us + 1, US_PER_DAY):
        of_day = {
            timeframe: cut for timeframe, (start_us, end_us) in ranges.items()
            if (cut := (max(start_us, day_us), min(end_us, day_us + US_PER_DAY)))[0] < cut[1]
        }  # fmt: skip
        if of_day:
            start_us, end_us = min(start for start, _ in of_day.values()), max(end for _, end in of_day.values())
            _fill_parts(cursor, {**named, "start": from_us(start_us), "end": from_us(end_us)})
        for timeframe, (start_us, end_us) in of_day.items():
            bars = {**named, "timeframe": timeframe, "length": lengths[timeframe]}
            bars |= {"start": from_us(start_us), "end": from_us(end_us)}
            cursor.execute(_ROLL_UP, bars)
            keep(cursor, _EMPTY, _LIFT_TICKLESS, bars)


def _fill_parts(cursor: Cursor, named: dict[str, object]) -> None:
    """Aggregate the ticks of `[start, end)`. How many parts there are is not known when the look for their ends is planned: a
    nested loop would read the range again for each.
    """
    cursor.execute("SELECT EXISTS (SELECT 1 FROM parts)")
    row = cursor.fetchone()
    if row and row[0]:
        cursor.execute("TRUNCATE parts")
    cursor.execute("SET LOCAL enable_nestloop = off")
    cursor.execute(_AGGREGATE, named)
    cursor.execute("SET LOCAL enable_nestloop = on")


def _whole_bars(span: Span, length_us: int, closed_us: int) -> tuple[int, int]:
    """From the start of the first bar of that length that overlaps the span to the end of the last one that is closed."""
    start_us = span.first_us - span.first_us % length_us
    return start_us, min(span.last_us - span.last_us % length_us + length_us, closed_us - closed_us % length_us)


def _shrink_filled_gaps(cursor: Cursor, span: Span, shards: int) -> None:
    """Gaps over the span name what is missing now; bars that may say `gap` no longer are marked for the next turn."""
    stream = stream_of(span.symbol, shards)
    cursor.execute(_GAPS, (span.symbol, span.last_us + BESIDE_US, span.first_us - BESIDE_US))
    for row in map(row_of, cursor.fetchall()):
        keep_missing(cursor, row, missing_pieces(cursor, row.gap, span.first_us, span.last_us), stream)


def _count_new(cursor: Cursor, settled: Sequence[Settled]) -> None:
    """`stats/` adds up these counters instead of counting bars."""
    new = sum(bar.is_new for bar in settled)
    if new:
        cursor.execute("UPDATE checkpoints SET bars = bars + %s WHERE shard = (SELECT min(shard) FROM checkpoints)", (new,))
