"""Statistics over stored bars: what tasks compute and what follows a rebuild, by the functions of the live stage.

Rows that would say the same stay as they are. What a row said before is kept in `stats_revisions`, and its revision rises.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from aggregator.barstore import BarLeaves
from aggregator.pricestats import NAMES, statistics_of
from aggregator.statstage import BAR_FIELDS, KEY, VALUES, columns_of, copy_lines, stage_rows
from common.codec import iso_us
from common.database import transaction
from common.partitions import leaf_ranges
from common.settings import Settings
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us

#: Bars of one transaction.
PIECE_BARS = 20_000
#: Two that compute anew take turns: the later one has read what the earlier one's bars became.
_ONE_AT_A_TIME = 0x6765_6D73_0005
_KEPT = f"{KEY}, {VALUES}, revision, written_at"
_OF_SERIES = "symbol = %(symbol)s AND timeframe = %(timeframe)s"
_BETWEEN = "timestamp >= %(first)s AND timestamp < %(end)s"
_BARS = f"SELECT timestamp, {BAR_FIELDS} FROM processed_bars WHERE {_OF_SERIES} AND"  # noqa: S608
_PIECE = f"{_BARS} {_BETWEEN} ORDER BY timestamp LIMIT %(bars)s"
_CONTEXT = f"{_BARS} timestamp < %(first)s ORDER BY timestamp DESC LIMIT %(window)s"
#: A row that differs in its last bits was computed by another machine, not from other bars.
_SAME = " AND ".join(
    f"(p.{name} IS NOT DISTINCT FROM {{new}}.{name}"
    f" OR coalesce(abs(p.{name} - {{new}}.{name}) <= 1e-12 * abs({{new}}.{name}), false))"
    for name in NAMES
)
_DIFFERS = f"NOT ({_SAME} AND p.has_gap = {{new}}.has_gap)"
_SPAN = "p.timestamp BETWEEN (SELECT min(timestamp) FROM staged_stats) AND (SELECT max(timestamp) FROM staged_stats)"
_KEEP_OLD = f"""
INSERT INTO stats_revisions ({_KEPT}) SELECT {", ".join(f"p.{name.strip()}" for name in _KEPT.split(","))}
FROM price_stats p JOIN staged_stats s USING ({KEY}) WHERE {_SPAN} AND {_DIFFERS.format(new="s")} ON CONFLICT DO NOTHING
"""  # noqa: S608
_SETTLE = f"""
INSERT INTO price_stats AS p ({KEY}, {VALUES}, revision)
SELECT {KEY}, {VALUES}, coalesce((SELECT max(r.revision) + 1 FROM stats_revisions r WHERE (r.symbol, r.timeframe, r.window_bars,
    r.timestamp) = (s.symbol, s.timeframe, s.window_bars, s.timestamp)), 0) FROM staged_stats s
ON CONFLICT ({KEY}) DO UPDATE SET ({VALUES}) = ({", ".join(f"excluded.{name.strip()}" for name in VALUES.split(","))}),
    revision = p.revision + 1, written_at = now()
WHERE {_DIFFERS.format(new="excluded")}
"""  # noqa: S608
_EMPTY = f"""
WITH gone AS (DELETE FROM price_stats p WHERE {_OF_SERIES} AND window_bars = %(window)s AND {_BETWEEN}
    AND NOT EXISTS (SELECT 1 FROM processed_bars b
        WHERE (b.symbol, b.timeframe, b.timestamp) = (p.symbol, p.timeframe, p.timestamp)) RETURNING {_KEPT})
INSERT INTO stats_revisions ({_KEPT}) SELECT * FROM gone ON CONFLICT DO NOTHING
"""  # noqa: S608
_AFTER = f"""
SELECT count(*), max(timestamp) FROM (SELECT timestamp FROM processed_bars WHERE {_OF_SERIES} AND timestamp > %(changed)s
    ORDER BY timestamp LIMIT %(window)s) AS after
"""  # noqa: S608
#: The windows that a series has rows of, each found by one look at the index.
_WINDOWS = f"""
WITH RECURSIVE known (window_bars) AS (
    SELECT min(window_bars) FROM price_stats WHERE {_OF_SERIES}
    UNION ALL SELECT (SELECT min(window_bars) FROM price_stats WHERE {_OF_SERIES} AND window_bars > known.window_bars)
    FROM known WHERE known.window_bars IS NOT NULL)
SELECT window_bars, first, last FROM known, LATERAL (SELECT min(timestamp) AS first, max(timestamp) AS last FROM price_stats p
    WHERE {_OF_SERIES} AND p.window_bars = known.window_bars) AS span WHERE known.window_bars IS NOT NULL
"""  # noqa: S608
_RELOAD = "INSERT INTO pair_reloads (symbol, timeframe) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_END_OF_TIME_US = 32_503_680_000_000_000  # the year 3000


class StatsKey(NamedTuple):
    """One series of rows."""

    symbol: str
    timeframe: str
    window: int


class StatsWritten(NamedTuple):
    """Rows computed, how many of them are new or changed, and the stamp before which all is done."""

    rows: int = 0
    changed: int = 0
    done_us: int = 0


def compute_stats(
    connection: Connection, leaves: BarLeaves, key: StatsKey, first_us: int = 0, end_us: int | None = None
) -> Iterator[StatsWritten]:
    """Write the rows of stored bars with `first_us <= t < end_us`; answers what is done after each piece."""
    end_us = _END_OF_TIME_US if end_us is None else end_us
    written = StatsWritten(done_us=first_us)
    _make_leaves(connection, leaves, first_us, end_us)
    while written.done_us < end_us:
        written = _compute_piece(connection, key, end_us, written)
        yield written


def _make_leaves(connection: Connection, leaves: BarLeaves, first_us: int, end_us: int) -> None:
    """Where there are leaves of bars, rows may be written."""
    with transaction(connection), connection.cursor() as cursor:
        ranges = leaf_ranges(cursor, "processed_bars")
    days = [(first.toordinal() - 719_163) * US_PER_DAY for first, _ in ranges]
    leaves.ensure(connection, [day for day in days if first_us - 31 * US_PER_DAY < day < end_us])


def _compute_piece(connection: Connection, key: StatsKey, end_us: int, before: StatsWritten) -> StatsWritten:
    named: dict[str, Any] = {**key._asdict(), "first": from_us(before.done_us), "end": from_us(end_us), "bars": PIECE_BARS}
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
        cursor.execute(_PIECE, named)
        bars = cursor.fetchall()
        done_us = to_us(bars[-1][0]) + 1 if len(bars) == PIECE_BARS else end_us
        cursor.execute(_EMPTY, {**named, "end": from_us(done_us)})
        changed = cursor.rowcount + (_settle(cursor, key, named, bars) if bars else 0)
    return StatsWritten(before.rows + len(bars), before.changed + changed, done_us)


def _settle(cursor: Cursor, key: StatsKey, named: dict[str, Any], bars: Sequence[tuple[Any, ...]]) -> int:
    """Write the rows of some bars; answers how many are new or changed."""
    cursor.execute(_CONTEXT, named)
    context = cursor.fetchall()[::-1]
    values, gaps = statistics_of(columns_of([bar[1:] for bar in bars]), columns_of([bar[1:] for bar in context]), key.window)
    keys = [f"{key.symbol},{key.timeframe},{key.window},{iso_us(to_us(bar[0]))}" for bar in bars]
    stage_rows(cursor, copy_lines(keys, values, gaps))
    cursor.execute(_KEEP_OLD)
    cursor.execute(_SETTLE)
    return cursor.rowcount


def follow_rebuilt(
    settings: Settings, connection: Connection, leaves: BarLeaves, bars: Iterable[tuple[str, str, datetime]],
    rows_held: Callable[[Connection], AbstractContextManager[None]],
) -> None:  # fmt: skip
    """Compute anew the rows that used rebuilt bars (symbol, timeframe, timestamp), of every window that has such rows.

    The live window's rows of the newest bars are done once more while the aggregator adds none (`rows_held`): it may have added
    some that stand on the old bars. Then it reads its window again.
    """
    changed: dict[tuple[str, str], list[int]] = {}
    for symbol, timeframe, timestamp in bars:
        changed.setdefault((symbol, timeframe), []).append(to_us(timestamp))
    for (symbol, timeframe), stamps in changed.items():
        live = StatsKey(symbol, timeframe, settings.stats_window) if settings.stats == "on" else None
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_WINDOWS, {"symbol": symbol, "timeframe": timeframe})
            known = {StatsKey(symbol, timeframe, row[0]): (to_us(row[1]), to_us(row[2]) + 1) for row in cursor.fetchall()}
        for key, span in {**known, **({live: (0, _END_OF_TIME_US)} if live else {})}.items():
            for run in _runs(stamps, key.window * timeframe_us(timeframe)):
                _follow(connection, leaves, key, run, span)
        if live and _reaches_the_newest(connection, live, max(stamps)):
            with rows_held(connection):
                _follow(connection, leaves, live, (max(stamps), max(stamps)), (0, _END_OF_TIME_US))
                with transaction(connection), connection.cursor() as cursor:
                    cursor.execute(_RELOAD, (symbol, timeframe))


def _runs(stamps: Iterable[int], reach_us: int) -> Iterator[tuple[int, int]]:
    """First and last stamps of those that are near each other: two late trades a year apart are two short stretches."""
    first = last = -1
    for stamp in sorted(stamps):
        if first >= 0 and stamp > last + reach_us:
            yield first, last
            first = -1
        first, last = stamp if first < 0 else first, stamp
    if first >= 0:
        yield first, last


def _follow(connection: Connection, leaves: BarLeaves, key: StatsKey, run: tuple[int, int], span: tuple[int, int]) -> None:
    """Compute the rows of a run of bars and of the window after it, within the span."""
    _, until = _after(connection, key, run[1])
    first_us, end_us = max(run[0], span[0]), min((until or run[1]) + 1, span[1])
    for _ in compute_stats(connection, leaves, key, first_us, end_us):
        pass


def _after(connection: Connection, key: StatsKey, changed_us: int) -> tuple[int, int | None]:
    """How many of the W bars after a stamp there are, and when the last of them begins."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_AFTER, {**key._asdict(), "changed": from_us(changed_us)})
        count, last = cursor.fetchone()  # type: ignore[misc]
    return count, to_us(last) if last else None


def _reaches_the_newest(connection: Connection, key: StatsKey, changed_us: int) -> bool:
    """True if the aggregator's window may still hold the bar."""
    return _after(connection, key, changed_us)[0] < key.window
