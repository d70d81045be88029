"""Rows of `spread_analytics` as they are written: new ones, and revised ones whose old values stay in `spread_revisions`.

A row never changes but by `revise`, which raises its `revision`; results of tests are filled in where they were NULL.
"""

import io
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from psycopg2.extensions import cursor as Cursor

from aggregator.keeping import keep
from aggregator.legs import Row
from aggregator.pairmath import NAMES
from aggregator.pairmath.statistics import FLOOR
from aggregator.pairwindow import Values
from common.codec import iso_us
from common.pairseries import SeriesKey
from common.trades import from_us, to_us

KEY = ("symbol_pair", "timeframe", "window_bars", "method")
_KEYS = ", ".join(KEY)
_ROW = ("symbol1_price", "symbol2_price", *NAMES, "carried", "has_gap", "hedge_ratios", "leg_prices", "filter_state")
_ROWS = ", ".join(_ROW)
TESTED = (
    "adf_statistic", "adf_pvalue", "is_cointegrated", "hurst", "variance_ratio", "spread_adf_statistic", "spread_adf_pvalue",
)  # fmt: skip
_RESULTS = "statistic", "pvalue", "is_cointegrated", "hurst", "variance_ratio", "spread_adf_statistic", "spread_adf_pvalue"
_T_RESULTS = ", ".join(f"t.{name}" for name in _RESULTS)
_OPEN = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS pair_rows ON COMMIT DELETE ROWS AS
SELECT {_KEYS}, timestamp, {_ROWS}, 0::bigint AS block_us, false AS asks FROM spread_analytics WITH NO DATA
"""  # noqa: S608
_COPY = f"COPY pair_rows ({_KEYS}, timestamp, {_ROWS}, block_us, asks) FROM STDIN (DELIMITER ',', NULL 'null')"
#: The first row with statistics in each block of `coint_every_bars` bar lengths is tested; the block's rows carry its result.
_ASK = f"""
INSERT INTO pair_tests ({_KEYS}, block_us, timestamp)
SELECT {_KEYS}, block_us, min(timestamp) FROM pair_rows WHERE asks AND hedge_ratio IS NOT NULL GROUP BY {_KEYS}, block_us
ORDER BY {_KEYS}, block_us ON CONFLICT DO NOTHING
"""  # noqa: S608
_SAME_ROW = "(s.symbol_pair, s.timeframe, s.window_bars, s.method, s.timestamp)"
_SAME_ROW += " = (r.symbol_pair, r.timeframe, r.window_bars, r.method, r.timestamp)"
_INSERT = f"""
INSERT INTO spread_analytics ({_KEYS}, timestamp, {_ROWS}, {", ".join(TESTED)}, coint_at, coint_written_at, revision, written_at)
SELECT r.symbol_pair, r.timeframe, r.window_bars, r.method, r.timestamp, {", ".join(f"r.{name}" for name in _ROW)}, {_T_RESULTS},
    t.timestamp, CASE WHEN t.timestamp IS NOT NULL THEN now() END, {{revision}}, {{written_at}}
FROM pair_rows r {{history}} LEFT JOIN pair_tests t
    ON (t.symbol_pair, t.timeframe, t.window_bars, t.method, t.block_us)
        = (r.symbol_pair, r.timeframe, r.window_bars, r.method, r.block_us)
    AND t.tested_at IS NOT NULL AND t.timestamp <= r.timestamp AND r.hedge_ratio IS NOT NULL
ON CONFLICT DO NOTHING
"""  # noqa: S608
_INSERT_LIVE = _INSERT.format(revision="0", written_at="now()", history="")
#: A row that was there before counts on, and begins no sooner than what it was had ended: `as_of` finds one or none.
_INSERT_AGAIN = _INSERT.format(
    revision="coalesce(h.newest + 1, 0)",
    written_at="greatest(now(), h.ended_at)",
    history=f"""CROSS JOIN LATERAL (SELECT max(s.revision) AS newest, max(s.replaced_at) AS ended_at
        FROM spread_revisions s WHERE {_SAME_ROW}) AS h""",  # noqa: S608
)
_REVISIONS = f"""
SELECT {_KEYS}, timestamp, (SELECT s.revision FROM spread_analytics s WHERE {_SAME_ROW}) FROM pair_rows r
"""  # noqa: S608
_LAST_KEPT = f"SELECT max(timestamp) FROM spread_revisions WHERE ({_KEYS}) = (%s, %s, %s, %s)"  # noqa: S608
_NEWEST_KEPT = """(SELECT max(h.revision) FROM spread_revisions h
    WHERE (h.symbol_pair, h.timeframe, h.window_bars, h.method, h.timestamp)
        = (s.symbol_pair, s.timeframe, s.window_bars, s.method, s.timestamp))"""
#: Rows that had come back once began at 0 again. Where one of them is refused beside what is kept, it is lifted above that.
_LIFT = f"UPDATE spread_analytics s SET revision = {_NEWEST_KEPT} + 1 {{of}} AND s.revision <= {_NEWEST_KEPT}"  # noqa: S608
_LIFT_CHANGED = _LIFT.format(of=f"FROM pair_rows r WHERE {_SAME_ROW}")
_KEEP = f"INSERT INTO spread_revisions SELECT s.*, now() FROM spread_analytics s JOIN pair_rows r ON {_SAME_ROW}"  # noqa: S608
#: Tests whose window holds a changed row are made again: the tested row itself has then changed.
_ASK_AGAIN = """
UPDATE pair_tests t SET tested_at = NULL FROM pair_rows r
WHERE (t.symbol_pair, t.timeframe, t.window_bars, t.method, t.block_us)
    = (r.symbol_pair, r.timeframe, r.window_bars, r.method, r.block_us) AND t.timestamp = r.timestamp AND t.tested_at IS NOT NULL
"""
_REVISE = f"""
UPDATE spread_analytics s SET ({_ROWS}) = ({", ".join(f"r.{name}" for name in _ROW)}), revision = s.revision + 1,
    written_at = now() FROM pair_rows r WHERE {_SAME_ROW}
"""  # noqa: S608
#: Rows whose test is to be made again wait for it as new ones do.
_UNTEST = f"""
UPDATE spread_analytics s SET ({", ".join(TESTED)}, coint_at, coint_written_at) = ({", ".join(["NULL"] * (len(TESTED) + 2))})
FROM pair_rows r WHERE {_SAME_ROW} AND EXISTS (SELECT 1 FROM pair_tests t WHERE t.tested_at IS NULL
    AND (t.symbol_pair, t.timeframe, t.window_bars, t.method, t.block_us)
        = (r.symbol_pair, r.timeframe, r.window_bars, r.method, r.block_us))
"""  # noqa: S608
_THESE = f"WHERE ({_KEYS}) = (%s, %s, %s, %s) AND timestamp = ANY(%s)"
_LIFT_GONE = _LIFT.format(of=_THESE)
_GONE = f"""
WITH gone AS (DELETE FROM spread_analytics {_THESE} RETURNING *)
INSERT INTO spread_revisions SELECT gone.*, now() FROM gone
"""  # noqa: S608
_STORED = f"""
SELECT timestamp, symbol1_price, symbol2_price, carried, has_gap, {", ".join(NAMES)}, hedge_ratios, leg_prices
FROM spread_analytics WHERE ({_KEYS}) = (%s, %s, %s, %s) AND timestamp >= %s AND timestamp <= %s
"""  # noqa: S608
_PLACE = {name: place for place, name in enumerate(NAMES)}
#: Half-lives beyond this are the noise of a slope of zero.
_ENDLESS = 1e8


class Made(NamedTuple):
    """A row of a series with what was computed of it; `block_us` is the block of its tests."""

    key: SeriesKey
    row: Row
    values: Values
    block_us: int


def insert_rows(cursor: Cursor, made: Sequence[Made]) -> None:
    """Write rows that never were there, and ask for their tests; one that is there already stays."""
    if made:
        _stage(cursor, made)
        cursor.execute(_ASK)
        cursor.execute(_INSERT_LIVE)


def insert_again(cursor: Cursor, made: Sequence[Made], asked: set[int] | None = None) -> None:
    """Write rows that may have been there before: they count on from what is kept of them, and their own tests are made again.

    Tests are asked of rows whose block is in `asked`; None: of all.
    """
    _stage(cursor, made, asked)
    for statement in (_ASK, _ASK_AGAIN, _INSERT_AGAIN):
        cursor.execute(statement)


def staged_revisions(cursor: Cursor) -> dict[tuple[SeriesKey, int], int]:
    """By series and start, the revisions in which the rows that this transaction staged last are stored."""
    cursor.execute(_REVISIONS)
    return {(SeriesKey(*key), to_us(timestamp)): revision for *key, timestamp, revision in cursor.fetchall()}


def last_kept_us(cursor: Cursor, key: SeriesKey) -> int | None:
    """Start of the newest row of which something is kept: what comes after it never was there. None without any."""
    cursor.execute(_LAST_KEPT, key)
    row: Any = cursor.fetchone()
    return to_us(row[0]) if row and row[0] else None


def revise_rows(cursor: Cursor, changed: Sequence[Made], new: Sequence[Made], asked: set[int]) -> None:
    """Rewrite changed rows and keep what they were; write new ones. Tests are asked of new rows whose block is in `asked`."""
    if changed:
        _stage(cursor, changed)
        keep(cursor, _KEEP, _LIFT_CHANGED)
        for statement in (_ASK_AGAIN, _REVISE, _UNTEST):
            cursor.execute(statement)
    if new:
        insert_again(cursor, new, asked)


def remove_rows(cursor: Cursor, key: SeriesKey, stamps_us: Iterable[int]) -> None:
    """Rows that no bars stand for any more; they stay as revisions."""
    keep(cursor, _GONE, _LIFT_GONE, (*key, [from_us(stamp) for stamp in stamps_us]))


def stored_rows(cursor: Cursor, key: SeriesKey, first_us: int, last_us: int) -> dict[int, tuple[Any, ...]]:
    """Rows of `[first_us, last_us]` by their start, as `differs` takes them."""
    cursor.execute(_STORED, (*key, from_us(first_us), from_us(last_us)))
    return {to_us(row[0]): row[1:] for row in cursor.fetchall()}


def differs(stored: tuple[Any, ...], row: Row, values: Values, log: bool) -> str:
    """What a stored row has that is not what was computed, in words; empty: nothing, to 1e-12 of what it is made of."""
    (y, x, carried, has_gap), statistics, (ratios, prices) = stored[:4], stored[4:-2], stored[-2:]
    told = [
        f"{name} {have} is {want}"
        for name, have, want in (
            ("symbol1_price", y, Decimal(row.y.close_text)), ("symbol2_price", x, Decimal(row.x.close_text)),
            ("carried", carried, row.carried), ("has_gap", has_gap, row.has_gap),
            ("leg_prices", prices, [Decimal(leg.close_text) for leg in row.legs] if len(row.legs) > 2 else None),
        )
        if have != want
    ]  # fmt: skip
    scale = _Scale(row, values.statistics, log)
    pairs = list(zip(NAMES, statistics, values.statistics, strict=True))
    pairs += [("hedge_ratio", have, want) for have, want in zip(ratios or (), values.hedge_ratios or (), strict=False)]
    told += [f"{name} {have} is {want}" for name, have, want in pairs if scale.apart(name, have, want)]
    return ", ".join(told)


class _Scale:
    """What a value of a row may be off by: a sum in another order is off by some rounding of what is summed."""

    def __init__(self, row: Row, statistics: tuple[float | None, ...], log: bool) -> None:
        ratio, std, r = (statistics[_PLACE[name]] for name in ("hedge_ratio", "rolling_std", "correlation"))
        y, x = (max(1.0, abs(math.log(leg.close))) if log else leg.close for leg in (row.y, row.x))
        b = abs(ratio or 0.0)
        self.floor = y * FLOOR
        self.ratio = 1e-12 * b / max(abs(r or 0.0), 1e-6) + 1e-15 * y / x
        self.level = 2e-15 * (y + b * x)
        self.intercept = self.level + self.ratio * x
        self.share = self.level / std if std else 1e-9
        self.std = std

    def apart(self, name: str, have: float | None, want: float | None) -> bool:
        if have is None or want is None:
            if have is want or (name == "half_life" and abs(have or want or 0.0) > _ENDLESS):
                return False
            return not (name in ("rolling_std", "z_score", "half_life", "innovation_z") and self._at_the_floor(name, have, want))
        return abs(have - want) > self._tolerance(name, abs(want))

    def _at_the_floor(self, name: str, have: float | None, want: float | None) -> bool:
        std = (have or want) if name == "rolling_std" else self.std
        return std is None or std < 4 * self.floor

    def _tolerance(self, name: str, size: float) -> float:
        if name == "hedge_ratio":
            return 1e-12 * size + self.ratio
        if name in ("intercept", "spread", "rolling_mean", "rolling_std"):
            return 1e-12 * size + (self.intercept if name == "intercept" else self.level)
        if name == "half_life":
            return size * (1 + size) * (1e-12 + self.share)
        return 1e-12 * max(1.0, size) + (self.share if name != "correlation" else 1e-12)


def _stage(cursor: Cursor, made: Sequence[Made], asked: set[int] | None = None) -> None:
    cursor.execute(_OPEN)
    cursor.execute("DELETE FROM pair_rows")
    made = sorted(made, key=lambda one: (one.key, one.row.start_us))  # an ORDER BY of the INSERT cost 5 us a row
    cursor.copy_expert(_COPY, io.StringIO("".join(_lines(made, asked))))


def _lines(made: Sequence[Made], asked: set[int] | None) -> Iterable[str]:
    """COPY text. orjson writes the shortest digits that read back as the same float, in a fifth of the time of `repr`."""
    statistics = orjson.dumps([one.values.statistics for one in made]).decode()[2:-2].split("],[")
    for (key, row, values, block_us), numbers in zip(made, statistics, strict=True):
        ratios, state = values.hedge_ratios, values.filter_state
        prices = "{" + "\\,".join([leg.close_text for leg in row.legs]) + "}" if len(row.legs) > 2 else "null"
        yield (
            f"{key.pair},{key.timeframe},{key.window},{key.method},{iso_us(row.start_us)},{row.y.close_text},{row.x.close_text},"
            f"{numbers},{row.carried.replace(',', chr(92) + ',')},{row.has_gap},"
            f"{'null' if ratios is None else _vector(ratios)},{prices},{'null' if state is None else _vector(state)},"
            f"{block_us},{asked is None or block_us in asked}\n"
        )


def _vector(values: Sequence[float | None]) -> str:
    return "{" + orjson.dumps(values).decode()[1:-1].replace(",", "\\,") + "}"


def carry_result(cursor: Cursor, key: SeriesKey, block_us: int, length_us: int) -> None:
    """Fill the result of a test into the rows of its block, which is `length_us` long.

    Also the block before: its last rows may have been committed while its own result was being written. Rows that carry another
    result (of prices that have changed since) are revised.
    """
    span = {"start": from_us(max(0, block_us - length_us)), "end": from_us(block_us + length_us)}
    params = {**key._asdict(), **span, "block_us": block_us, "length_us": length_us}
    keep(cursor, _CARRY_KEEP, _CARRY_LIFT, params)
    cursor.execute(_CARRY, params)


_OF_BLOCK = f"""
(t.symbol_pair, t.timeframe, t.window_bars, t.method) = (%(pair)s, %(timeframe)s, %(window)s, %(method)s)
    AND t.block_us IN (%(block_us)s, %(block_us)s - %(length_us)s) AND t.tested_at IS NOT NULL
    AND (s.symbol_pair, s.timeframe, s.window_bars, s.method) = (t.symbol_pair, t.timeframe, t.window_bars, t.method)
    AND s.timestamp >= %(start)s AND s.timestamp < %(end)s AND s.hedge_ratio IS NOT NULL
    AND s.timestamp >= t.timestamp AND s.timestamp < to_timestamp((t.block_us + %(length_us)s) / 1000000)
    AND (s.coint_at, {", ".join(f"s.{name}" for name in TESTED)}) IS DISTINCT FROM (t.timestamp, {_T_RESULTS})
"""
_CARRY_LIFT = _LIFT.format(of=f"FROM pair_tests t WHERE {_OF_BLOCK} AND s.coint_at IS NOT NULL")
_CARRY_KEEP = f"""
INSERT INTO spread_revisions SELECT s.*, now() FROM spread_analytics s, pair_tests t WHERE {_OF_BLOCK} AND s.coint_at IS NOT NULL
"""  # noqa: S608
_CARRY = f"""
UPDATE spread_analytics s SET ({", ".join(TESTED)}) = ({_T_RESULTS}), coint_at = t.timestamp, coint_written_at = now(),
    revision = s.revision + (s.coint_at IS NOT NULL)::integer,
    written_at = CASE WHEN s.coint_at IS NOT NULL THEN now() ELSE s.written_at END
FROM pair_tests t WHERE {_OF_BLOCK}
"""  # noqa: S608
