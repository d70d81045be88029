"""Law 3: the closed bars of a symbol and a UTC day against its ticks, all timeframes in one statement.

Ticks are sorted once and collapsed into bars of the greatest common length; the timeframes roll up from these. Every timeframe
divides a day, so a day holds whole bars.
"""

from collections.abc import Iterable, Sequence
from math import gcd
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us
from ops.verify.report import Finding

#: Column of `processed_bars` -> what the ticks say.
_VALUES = {
    "open": "f.open", "high": "r.high", "low": "r.low", "close": "l.close", "volume": "r.volume", "tick_count": "r.n",
    "quote_volume": "r.quote", "taker_buy_volume": "r.buys",
    "taker_buy_quote_volume": "r.quote_buys", "first_trade_id": "f.first_id", "last_trade_id": "l.last_id",
}  # fmt: skip
_SAME = " AND ".join(f"b.{name} = e.{name}" for name in _VALUES)
_TOLD = ", ".join(f"CASE WHEN b.{name} <> e.{name} THEN '{name} ' || b.{name} || ' is ' || e.{name} END" for name in _VALUES)


def _first(column: str) -> str:
    return f"(array_agg({column} ORDER BY timestamp, coalesce(seq, 0), trade_id))[1]"


def _last(column: str) -> str:
    """In the same order as the first, read from its end: one sort serves all four."""
    return _first(column).replace("[1]", "[count(*)]")


_COMPARE = f"""
WITH base AS MATERIALIZED (
    SELECT date_bin(%(base_us)s * interval '1 microsecond', timestamp, 'epoch') AS bucket, {_first("price")} AS open,
        max(price) AS high, min(price) AS low, {_last("price")} AS close, sum(size) AS volume, count(*) AS n,
        sum(price * size) AS quote, coalesce(sum(size) FILTER (WHERE side = 'b'), 0) AS buys,
        coalesce(sum(price * size) FILTER (WHERE side = 'b'), 0) AS quote_buys,
        {_first("trade_id")} AS first_id, {_last("trade_id")} AS last_id
    FROM raw_ticks WHERE symbol = %(symbol)s AND timestamp >= %(start)s AND timestamp < %(end)s GROUP BY bucket),
rolled AS (
    SELECT t.timeframe, t.length_us, date_bin(t.length_us * interval '1 microsecond', bucket, 'epoch') AS timestamp,
        min(bucket) AS first_bucket, max(bucket) AS last_bucket, max(high) AS high, min(low) AS low, sum(volume) AS volume,
        sum(n) AS n, sum(quote) AS quote, sum(buys) AS buys, sum(quote_buys) AS quote_buys
    FROM base, unnest(%(timeframes)s, %(lengths)s::bigint[]) AS t (timeframe, length_us) GROUP BY 1, 2, 3),
expected AS (
    SELECT r.timeframe, r.timestamp, {", ".join(f"{value} AS {name}" for name, value in _VALUES.items())}
    FROM rolled r JOIN base f ON f.bucket = r.first_bucket JOIN base l ON l.bucket = r.last_bucket
    WHERE r.timestamp + r.length_us * interval '1 microsecond' <= %(closed)s),
found AS (
    SELECT b.* FROM processed_bars b
    JOIN unnest(%(timeframes)s, %(lengths)s::bigint[]) AS t (timeframe, length_us) USING (timeframe)
    WHERE b.symbol = %(symbol)s AND b.timestamp >= %(start)s AND b.timestamp < %(end)s
        AND b.timestamp + t.length_us * interval '1 microsecond' <= %(closed)s),
compared AS (
    SELECT timeframe, timestamp, (extract(epoch FROM timestamp) * 1000000)::bigint AS start_us,
        CASE WHEN b.symbol IS NULL THEN 'missing' WHEN e.volume IS NULL THEN 'without ticks'
            WHEN {_SAME} AND abs(b.vwap - e.quote_volume / e.volume) <= 1e-12 * e.quote_volume / e.volume THEN 'same'
            ELSE 'wrong' END AS verdict,
        concat_ws(', ', {_TOLD}, CASE WHEN abs(b.vwap - e.quote_volume / e.volume) > 1e-12 * e.quote_volume / e.volume
            THEN 'vwap ' || b.vwap || ' is ' || e.quote_volume / e.volume END) AS told
    FROM expected e FULL JOIN found b USING (timeframe, timestamp))
SELECT timeframe, NULL, 'checked', count(*)::text, false FROM compared GROUP BY timeframe
UNION ALL
SELECT timeframe, start_us, verdict, told, EXISTS (SELECT 1 FROM dirty_ranges d, unnest(%(timeframes)s, %(lengths)s::bigint[])
        AS t (timeframe, length_us)
    WHERE d.symbol = %(symbol)s AND t.timeframe = c.timeframe AND d.first_us < start_us + length_us AND d.last_us >= start_us)
FROM compared c WHERE verdict <> 'same'
ORDER BY 2, 1
"""  # noqa: S608


class BadBar(NamedTuple):
    """A closed bar that is not what the ticks say; `verdict` is wrong, missing or without ticks."""

    timeframe: str
    start_us: int
    verdict: str
    told: str

    @property
    def end_us(self) -> int:
        """Its end, not included."""
        return self.start_us + timeframe_us(self.timeframe)

    def as_finding(self, symbol: str) -> Finding:
        """In words."""
        what = f"{symbol} {self.timeframe} {from_us(self.start_us):%Y-%m-%dT%H:%M:%SZ} {self.verdict}"
        return Finding(f"{what}: {self.told}" if self.told else what, symbol, self.start_us, self.end_us - 1)


class DayOfBars(NamedTuple):
    """What a day's comparison says: bars looked at by timeframe, those that differ, and those that a mark covers."""

    checked: dict[str, int]
    bad: list[BadBar]
    marked: list[BadBar]


def compare_day(cursor: Cursor, symbol: str, day: int, timeframes: Sequence[str], closed_us: int) -> DayOfBars:
    """Compare the bars of a UTC day (counted from 1970) that end at or before `closed_us`."""
    lengths = [timeframe_us(timeframe) for timeframe in timeframes]
    cursor.execute(_COMPARE, {
        "symbol": symbol, "timeframes": list(timeframes), "lengths": lengths, "base_us": gcd(*lengths),
        "start": from_us(day * US_PER_DAY), "end": from_us((day + 1) * US_PER_DAY), "closed": from_us(max(0, closed_us)),
    })  # fmt: skip
    found = DayOfBars({}, [], [])
    for timeframe, start_us, verdict, told, is_marked in cursor.fetchall():
        if verdict == "checked":
            found.checked[timeframe] = int(told)
        else:
            (found.marked if is_marked else found.bad).append(BadBar(timeframe, start_us, verdict, told))
    return found


def by_timeframe(bars: Iterable[BadBar]) -> dict[str, list[BadBar]]:
    """The same, apart."""
    apart: dict[str, list[BadBar]] = {}
    for bar in bars:
        apart.setdefault(bar.timeframe, []).append(bar)
    return apart
