"""Law 3, a symbol and a day at a time, while everything runs."""

from collections.abc import Sequence

from ops.verify.bars import BadBar, DayOfBars, by_timeframe, compare_day
from ops.verify.ids import Run, runs_of_day
from ops.verify.moment import Session
from ops.verify.report import Check, Span, wider


class BarChecks:
    """Bars of all timeframes against ticks; on the way, the runs of ids of each day."""

    def __init__(self, session: Session, timeframes: Sequence[str]) -> None:
        self._session, self._timeframes = session, timeframes
        self.by_timeframe = {name: Check(3, f"{name} bars are what the ticks say", "bars") for name in timeframes}
        self.damage: dict[tuple[str, int], Span] = {}  # by symbol and UTC day
        self.by_hand: dict[tuple[str, str], Span] = {}  # by symbol and timeframe that no aggregator builds

    def check(self, symbol: str, day: int, closed_us: int) -> list[Run]:
        """Look at a day, and again where something is wrong: what has changed by then was being worked on."""
        found, bad, runs = self._look(symbol, day, closed_us)
        again = set(self._look(symbol, day, closed_us)[1]) if bad else set()
        for timeframe, count in found.checked.items():
            self.by_timeframe[timeframe].checked += count
        settled = [bar for bar in bad if bar in again]
        for bar in [*found.marked, *(bar for bar in found.bad if bar not in again)]:
            self.by_timeframe[bar.timeframe].pending += 1
        self._note(symbol, day, settled)
        return runs

    def _look(self, symbol: str, day: int, closed_us: int) -> tuple[DayOfBars, list[BadBar], list[Run]]:
        """One snapshot: all that differs, what of it no trade in flight explains, and the runs of ids."""
        stored = self._session.stored()
        with self._session.snapshot() as cursor:
            found = compare_day(cursor, symbol, day, self._timeframes, closed_us)
            runs = runs_of_day(cursor, symbol, day)
            found = found._replace(bad=[bar for bar in found.bad if self._must_be(bar)])
            if not found.bad:
                return found, [], runs
            flight = self._session.in_flight(stored, cursor)
        return found, [bar for bar in found.bad if not flight.touches_time(symbol, bar.start_us, bar.end_us)], runs

    def _must_be(self, bar: BadBar) -> bool:
        """A bar of a timeframe that is not built may be missing."""
        return bar.timeframe in self._session.settings.timeframes or bar.verdict != "missing"

    def _note(self, symbol: str, day: int, bad: list[BadBar]) -> None:
        for timeframe, bars in by_timeframe(bad).items():
            self.by_timeframe[timeframe].add(bar.as_finding(symbol) for bar in bars)
            span = (bars[0].start_us, bars[-1].end_us - 1)
            if timeframe in self._session.settings.timeframes:
                self.damage[symbol, day] = wider(self.damage.get((symbol, day)), span)
            else:
                self.by_hand[symbol, timeframe] = wider(self.by_hand.get((symbol, timeframe)), span)
