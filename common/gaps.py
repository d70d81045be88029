"""The table `gaps`: ids that are missing from `raw_ticks`, and what became of them.

`open`: may still come; `closed`: every id is stored; `lost`: the venue does not have them. Bars over an open or a lost gap
say `gap`. A row shrinks or is split as its ids come in, so that it always names what is missing now.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from common.trades import US_PER_DAY, from_us

#: A gap with more holes than that stays in one row.
MOST_PIECES = 1_000

_PIECES = """
SELECT low, high, left_us, us FROM (
    SELECT lag(trade_id, 1, %(first_id)s::numeric - 1) OVER w + 1 AS low, trade_id - 1 AS high,
        lag(us, 1, %(from_us)s) OVER w AS left_us, us
    FROM (
        SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint AS us FROM raw_ticks
        WHERE symbol = %(symbol)s AND trade_id BETWEEN %(first_id)s AND %(last_id)s
            AND timestamp >= %(since)s AND timestamp < %(until)s
        UNION ALL SELECT %(last_id)s::numeric + 1, %(to_us)s) AS stored
    WINDOW w AS (ORDER BY trade_id)) AS steps
WHERE low <= high ORDER BY low LIMIT %(most)s
"""
_REPLACE = """
INSERT INTO gaps AS g (symbol, first_id, last_id, from_us, to_us, state, note, found_at, closed_at) VALUES %s
ON CONFLICT (symbol, first_id, last_id) DO UPDATE SET state = EXCLUDED.state, note = EXCLUDED.note, closed_at = EXCLUDED.closed_at
WHERE g.state <> 'lost'
"""
_RECORD = """
INSERT INTO gaps AS g (symbol, first_id, last_id, from_us, to_us, state, note, closed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, CASE WHEN %s = 'lost' THEN now() END)
ON CONFLICT (symbol, first_id, last_id) DO UPDATE SET state = EXCLUDED.state, note = EXCLUDED.note, closed_at = EXCLUDED.closed_at
WHERE g.state = 'open' AND EXCLUDED.state = 'lost'
"""
_OVERLAPPING = """
SELECT id, symbol, first_id, last_id, from_us, to_us, state, note, found_at FROM gaps
WHERE symbol = %s AND first_id <= %s AND last_id >= %s AND state = 'open' ORDER BY id FOR UPDATE
"""
_MARK = "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason) VALUES %s"
#: Bars that say `gap` and may no longer have to; all timeframes divide a UTC day.
_MARK_BARS = """
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)
SELECT symbol, (extract(epoch FROM min(timestamp)) * 1000000)::bigint, (extract(epoch FROM max(timestamp)) * 1000000)::bigint,
    %s, 0, 0, 'gap filled'
FROM processed_bars WHERE symbol = %s AND timestamp >= %s AND timestamp <= %s AND status = 'gap'
GROUP BY symbol, (timestamp AT TIME ZONE 'UTC')::date
"""


class Gap(NamedTuple):
    """Ids `first_id..last_id` of a symbol, missing between the stamps of the ids around them."""

    symbol: str
    first_id: int
    last_id: int
    from_us: int
    to_us: int

    @property
    def trades(self) -> int:
        """How many ids."""
        return self.last_id - self.first_id + 1

    def __str__(self) -> str:
        return f"{self.symbol} {self.first_id}..{self.last_id}"


class GapRow(NamedTuple):
    """A row of `gaps`."""

    id: int
    gap: Gap
    state: str
    note: str
    found_at: object


def row_of(row: Sequence[object]) -> GapRow:
    """From `id, symbol, first_id, last_id, from_us, to_us, state, note, found_at`."""
    number, symbol, first_id, last_id, from_us_, to_us_, state, note, found_at = row
    return GapRow(number, Gap(symbol, first_id, last_id, from_us_, to_us_), state, note, found_at)  # type: ignore[arg-type]


def missing_pieces(cursor: Cursor, gap: Gap, first_us: int, last_us: int) -> list[Gap]:
    """What `raw_ticks` lacks of a gap, looking at stamps `[first_us, last_us]` and a day around them; `[gap]` if it is in
    more than `MOST_PIECES` pieces. Empty: nothing is missing."""
    cursor.execute(_PIECES, {
        **gap._asdict(), "most": MOST_PIECES + 1,
        "since": from_us(max(0, first_us - US_PER_DAY)), "until": from_us(last_us + US_PER_DAY),
    })  # fmt: skip
    found = [
        Gap(gap.symbol, int(low), int(high), min(left_us, right_us), max(left_us, right_us))
        for low, high, left_us, right_us in cursor.fetchall()
    ]
    return found if len(found) <= MOST_PIECES else [gap]


def keep_missing(cursor: Cursor, row: GapRow, pieces: Sequence[Gap], stream: str) -> bool:
    """Let a row, locked by the caller, say what is missing now; answers if that is less than it said.

    Bars around what has come in are marked: they may say `gap` no longer.
    """
    if sum(piece.trades for piece in pieces) == row.gap.trades:
        return False
    if pieces:
        _replace(cursor, row, [(piece, row.state, row.note) for piece in pieces])
    else:
        cursor.execute("UPDATE gaps SET state = 'closed', closed_at = now() WHERE id = %s", (row.id,))
    for first_us, last_us in filled_spans(row.gap, pieces):
        day_us = max(0, first_us - first_us % US_PER_DAY)
        cursor.execute(_MARK_BARS, (stream, row.gap.symbol, from_us(day_us), from_us(last_us)))
    return True


def filled_spans(gap: Gap, pieces: Sequence[Gap]) -> list[tuple[int, int]]:
    """The stamps of a gap that no remaining piece lies over, ends included.

    >>> filled_spans(Gap("A", 1, 9, 10, 90), [Gap("A", 3, 5, 20, 60)])
    [(10, 20), (60, 90)]
    """
    edges = [gap.from_us, *[us for piece in pieces for us in (piece.from_us, piece.to_us)], gap.to_us]
    return [(first, last) for first, last in zip(edges[::2], edges[1::2], strict=True) if first <= last]


def record(cursor: Cursor, gap: Gap, state: str, note: str, stream: str) -> bool:
    """Note a gap that the feed knows of, and mark the bars at its ends; False if it was noted before."""
    cursor.execute(_RECORD, (*gap, state, note, state))
    new = cursor.rowcount == 1
    if new:
        ends = sorted({gap.from_us, gap.to_us})
        execute_values(cursor, _MARK, [(gap.symbol, us, us, stream, 0, 0, "gap") for us in ends])
    return new


def lose(cursor: Cursor, lost: Gap, note: str) -> None:
    """The venue does not have these ids: the open rows over them are split, and this part is not asked for again."""
    cursor.execute(_OVERLAPPING, (lost.symbol, lost.last_id, lost.first_id))
    for row in map(row_of, cursor.fetchall()):
        parts = [(part, state, note if state == "lost" else row.note) for part, state in cut(row.gap, lost)]
        _replace(cursor, row, parts)


def cut(gap: Gap, lost: Gap) -> list[tuple[Gap, str]]:
    """An open gap without a lost part of it, and that part, in the order of the ids.

    >>> [(str(part), state) for part, state in cut(Gap("A", 1, 9, 10, 90), Gap("A", 4, 6, 30, 70))]
    [('A 1..3', 'open'), ('A 4..6', 'lost'), ('A 7..9', 'open')]
    """
    middle = gap._replace(
        first_id=max(gap.first_id, lost.first_id), last_id=min(gap.last_id, lost.last_id),
        from_us=min(max(gap.from_us, lost.from_us), gap.to_us), to_us=max(min(gap.to_us, lost.to_us), gap.from_us),
    )  # fmt: skip
    parts = [
        (gap._replace(last_id=middle.first_id - 1, to_us=middle.from_us), "open"),
        (middle, "lost"),
        (gap._replace(first_id=middle.last_id + 1, from_us=middle.to_us), "open"),
    ]
    return [(part, state) for part, state in parts if part.trades > 0]


def _replace(cursor: Cursor, row: GapRow, parts: Iterable[tuple[Gap, str, str]]) -> None:
    cursor.execute("DELETE FROM gaps WHERE id = %s", (row.id,))
    rows = [(*gap, state, note, row.found_at, state == "lost") for gap, state, note in parts]
    execute_values(cursor, _REPLACE, rows, "(%s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)")
