"""Law 5 with `--deep`: the series of pair rows, day by day."""

import time

from common.codec import iso_us
from common.pairseries import LIVE
from common.pairspec import basket_legs
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us
from common.view import View
from ops.verify.moment import Session
from ops.verify.pairs import BadRow, Series, compare_rows, stored_series
from ops.verify.report import Check, Finding, Span, Tell, wider
from ops.verify.rowtasks import compare_by_task

#: How long a rebuild may take to write the pair rows that follow from its bars: a transaction of its own.
FOLLOWED_WITHIN_S = 15
_POLL_S = 0.2
_JUST_WRITTEN = """
SELECT EXISTS (SELECT 1 FROM processed_bars WHERE symbol = ANY(%s) AND timeframe = %s AND timestamp >= %s AND timestamp <= %s
    AND written_at > clock_timestamp() - %s * interval '1 second')
"""
#: A rebuilt bar reaches every row from its own on: a window's later rows stand on it.
_UNSETTLED = """
SELECT min(us) FROM (
    SELECT first_us AS us FROM dirty_ranges WHERE symbol = ANY(%(legs)s)
    UNION ALL SELECT (extract(epoch FROM timestamp) * 1000000)::bigint FROM rebuilt_bars
    WHERE symbol = ANY(%(legs)s) AND timeframe = %(timeframe)s) AS waiting
"""
#: Is it live with nobody filling its past; and its newest row.
_LIVE = f"""
SELECT EXISTS (SELECT 1 FROM pair_series s WHERE symbol_pair = k.pair AND timeframe = k.timeframe AND window_bars = k.bars
        AND method = k.method AND {LIVE}
        AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.kind = 'spread' AND t.state IN ('queued', 'running')
            AND t.params ->> 'timeframe' = k.timeframe AND t.params -> 'symbols' = to_jsonb(s.symbols))),
    (SELECT (extract(epoch FROM max(timestamp)) * 1000000)::bigint FROM spread_analytics
        WHERE symbol_pair = k.pair AND timeframe = k.timeframe AND window_bars = k.bars AND method = k.method)
FROM (VALUES (%s, %s, %s, %s)) AS k (pair, timeframe, bars, method)
"""  # noqa: S608
#: How far the newest row of a live series may be behind its legs' bars.
BEHIND_US = 60_000_000


class RowChecks:
    """Pair rows against bars."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.rows = Check(5, "pair rows are what the bars say", "rows")
        self.damage: dict[Series, Span] = {}
        self._tasks_answer = True

    def check(self, symbol: str | None, days: dict[str, list[int]], view: View, tell: Tell) -> None:
        """Look at every stored series (of a symbol) on the days that its legs have."""
        with self._session.snapshot() as cursor:
            found = stored_series(cursor)
        for done, series in enumerate(found):
            tell(f"{series.pair} {series.timeframe}", done, len(found))
            legs = basket_legs(series.pair, frozenset(view.watermarks))
            its_days = sorted({day for leg in legs or () for day in days.get(leg, [])})
            if not legs or symbol not in (None, *legs) or not its_days:
                continue
            closed_us = min(view.closed_us(leg) for leg in legs)
            if not series.is_formula or len(legs) > 2:
                self._by_task(series, legs, its_days, closed_us)
                continue
            complete_us = self._complete_until(series, closed_us)
            for day in its_days:
                self._one_day(series, (legs[0], legs[1]), day, closed_us, complete_us)

    def _by_task(self, series: Series, legs: tuple[str, ...], days: list[int], closed_us: int) -> None:
        """What no formula says is made again by a task; what it finds while bars are being rebuilt is pending."""
        span = days[0] * US_PER_DAY, min((days[-1] + 1) * US_PER_DAY, closed_us + 1)
        found = compare_by_task(self._session.settings, series, legs, *span) if self._tasks_answer else None
        if found is None:
            self._tasks_answer = False
            self.rows.pending += 1
            return
        self.rows.checked += found.rows
        if found.other and self._unsettled_since(series, legs) is not None:
            self.rows.pending += found.other
        elif found.other:
            self.rows.add(Finding(f"{series.name} {example}", None, *span) for example in found.examples)
            self.damage[series] = wider(self.damage.get(series), span)

    def _complete_until(self, series: Series, closed_us: int) -> int:
        """Before that, no row of a live series may be missing; its newest may be on their way, its past may be being filled."""
        with self._session.snapshot() as cursor:
            cursor.execute(_LIVE, series)
            row = cursor.fetchone()
        if not row or not row[0]:
            return 0
        behind_us = closed_us - row[1] if row[1] is not None else 0
        return row[1] or 0 if behind_us < timeframe_us(series.timeframe) + BEHIND_US else closed_us

    def _one_day(self, series: Series, legs: tuple[str, str], day: int, closed_us: int, complete_us: int) -> None:
        until_s = time.monotonic() + FOLLOWED_WITHIN_S
        count, bad = self._look(series, legs, day, closed_us, complete_us)
        while bad and time.monotonic() < until_s and self._just_written(series, legs, bad):
            time.sleep(_POLL_S)
            count, bad = self._look(series, legs, day, closed_us, complete_us)
        self.rows.checked += count
        unsettled_us = self._unsettled_since(series, legs) if bad else None
        if unsettled_us is not None:
            self.rows.pending += sum(row.start_us >= unsettled_us for row in bad)
            bad = [row for row in bad if row.start_us < unsettled_us]
        told = [(f"{series.name} {iso_us(row.start_us)}: {row.told}", row.start_us) for row in bad]
        self.rows.add(Finding(what, None, start_us, start_us) for what, start_us in told)
        if bad:
            self.damage[series] = wider(self.damage.get(series), (bad[0].start_us, bad[-1].start_us))

    def _just_written(self, series: Series, legs: tuple[str, str], bad: list[BadRow]) -> bool:
        """True if bars that these rows may use are so new that their rows may be on the way."""
        since_us = max(0, bad[0].start_us - self._session.settings.stale_leg_s * 1_000_000)
        stamps = from_us(since_us), from_us(bad[-1].start_us)
        with self._session.snapshot() as cursor:
            cursor.execute(_JUST_WRITTEN, (list(legs), series.timeframe, *stamps, FOLLOWED_WITHIN_S))
            row = cursor.fetchone()
        return bool(row and row[0])

    def _unsettled_since(self, series: Series, legs: tuple[str, ...]) -> int | None:
        """From this stamp on rows may still change: bars of a leg are to be rebuilt, or rows have not followed them yet."""
        with self._session.snapshot() as cursor:
            cursor.execute(_UNSETTLED, {"legs": list(legs), "timeframe": series.timeframe})
            row = cursor.fetchone()
        return int(row[0]) - timeframe_us(series.timeframe) if row and row[0] is not None else None

    def _look(
        self, series: Series, legs: tuple[str, str], day: int, closed_us: int, complete_us: int
    ) -> tuple[int, list[BadRow]]:
        with self._session.snapshot() as cursor:
            stale_us = self._session.settings.stale_leg_s * 1_000_000
            return compare_rows(cursor, series, legs, day, closed_us, stale_us, complete_us)
