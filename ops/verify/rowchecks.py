"""Law 5 with `--deep`: the series of pair rows, day by day."""

import time

from common.codec import iso_us
from common.settings import pair_legs
from common.timeframes import timeframe_us
from common.trades import from_us
from common.view import View
from ops.verify.moment import Session
from ops.verify.pairs import BadRow, Series, compare_rows, stored_series
from ops.verify.report import Check, Finding, Span, Tell, wider

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


class RowChecks:
    """Pair rows against bars."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.rows = Check(5, "pair rows are what the bars say", "rows")
        self.damage: dict[Series, Span] = {}

    def check(self, symbol: str | None, days: dict[str, list[int]], view: View, tell: Tell) -> None:
        """Look at every stored series (of a symbol) on the days that its legs have."""
        with self._session.snapshot() as cursor:
            found = stored_series(cursor)
        for done, series in enumerate(found):
            tell(f"{series.pair} {series.timeframe}", done, len(found))
            legs = pair_legs(series.pair, frozenset(view.watermarks))
            if legs and symbol in (None, *legs):
                for day in sorted({day for leg in legs for day in days.get(leg, [])}):
                    self._one_day(series, legs, day, min(view.closed_us(leg) for leg in legs))

    def _one_day(self, series: Series, legs: tuple[str, str], day: int, closed_us: int) -> None:
        until_s = time.monotonic() + FOLLOWED_WITHIN_S
        count, bad = self._look(series, legs, day, closed_us)
        while bad and time.monotonic() < until_s and self._just_written(series, legs, bad):
            time.sleep(_POLL_S)
            count, bad = self._look(series, legs, day, closed_us)
        self.rows.checked += count
        unsettled_us = self._unsettled_since(series, legs) if bad else None
        if unsettled_us is not None:
            self.rows.pending += sum(row.start_us >= unsettled_us for row in bad)
            bad = [row for row in bad if row.start_us < unsettled_us]
        name = f"{series.pair} {series.timeframe} window {series.window}"
        self.rows.add(Finding(f"{name} {iso_us(row.start_us)}: {row.told}", None, row.start_us, row.start_us) for row in bad)
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

    def _unsettled_since(self, series: Series, legs: tuple[str, str]) -> int | None:
        """From this stamp on rows may still change: bars of a leg are to be rebuilt, or rows have not followed them yet."""
        with self._session.snapshot() as cursor:
            cursor.execute(_UNSETTLED, {"legs": list(legs), "timeframe": series.timeframe})
            row = cursor.fetchone()
        return int(row[0]) - timeframe_us(series.timeframe) if row and row[0] is not None else None

    def _look(self, series: Series, legs: tuple[str, str], day: int, closed_us: int) -> tuple[int, list[BadRow]]:
        settings = self._session.settings
        is_ours = series.pair in settings.pairs and series.timeframe in settings.timeframes
        must_have, stale_us = is_ours and series.window == settings.window, settings.stale_leg_s * 1_000_000
        with self._session.snapshot() as cursor:
            return compare_rows(cursor, series, legs, day, closed_us, stale_us, must_have)
