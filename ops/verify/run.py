"""All checks in their order, on one session of snapshots."""

from dataclasses import dataclass, field

import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.settings import Settings
from common.view import View, committed_view
from ops.verify import stream
from ops.verify.barchecks import BarChecks
from ops.verify.idchecks import IdChecks
from ops.verify.ids import Run
from ops.verify.moment import Session
from ops.verify.pairs import Series
from ops.verify.report import Check, Finding, Report, Span, Tell
from ops.verify.rowchecks import RowChecks
from ops.verify.scope import Asked, all_timeframes, symbol_days

_MARKS = "SELECT count(*) FROM dirty_ranges WHERE symbol = coalesce(%s, symbol)"


@dataclass(slots=True)
class Damage:
    """What a repair can start from."""

    bars: dict[tuple[str, int], Span] = field(default_factory=dict)  # by symbol and UTC day
    by_hand: dict[tuple[str, str], Span] = field(default_factory=dict)  # by symbol and timeframe that no aggregator builds
    holes: list[Finding] = field(default_factory=list)  # missing ids that no gap covers
    rows: dict[Series, Span] = field(default_factory=dict)


class Verifier:
    """One run over what was asked for; `tell(what, done, total)` hears how far it is."""

    def __init__(self, settings: Settings, client: redis.Redis, connection: Connection, asked: Asked, tell: Tell) -> None:
        self._settings, self._asked, self._tell = settings, asked, tell
        self._session = Session(settings, client, connection)
        self._ids, self._rows = IdChecks(self._session), RowChecks(self._session)
        self.damage = Damage()

    def run(self, deep: bool = False) -> Report:
        """Check everything; takes a second or two for a million ticks."""
        report = Report()
        with self._session.snapshot() as cursor:
            view = committed_view(cursor, self._settings)
        behind = self._session.wait_stored(view)
        report.notes += [behind] if behind else []
        with self._session.snapshot() as cursor:
            report.checks = self._of_the_readers(cursor)
            days = symbol_days(cursor, self._settings, self._asked)
            bars = BarChecks(self._session, all_timeframes(cursor, self._settings.timeframes))
            report.notes += _marked(cursor, self._asked.symbol)
        self._all_days(bars, days, view)
        report.checks += bars.by_timeframe.values()
        if deep:
            self._rows.check(self._asked.symbol, days, view, self._tell)
            report.checks.append(self._rows.rows)
        self.damage = Damage(bars.damage, bars.by_hand, self._ids.holes, self._rows.damage)
        return report

    def _of_the_readers(self, cursor: Cursor) -> list[Check]:
        checks = [stream.check_positions(cursor, self._session.client, self._settings)]
        if self._asked.is_everything:
            self._tell("counting ticks", 0, 1)
            checks.append(stream.check_counters(cursor, self._settings))
        self._ids.tell_open_gaps(cursor, self._asked.symbol)
        letters, indexes = stream.check_letters(cursor), stream.check_indexes(cursor)
        return [*checks, self._ids.order, letters, indexes, self._ids.repeats]

    def _all_days(self, bars: BarChecks, days: dict[str, list[int]], view: View) -> None:
        done, total = 0, sum(map(len, days.values()))
        for symbol, of_symbol in days.items():
            runs: list[Run] = []
            for day in of_symbol:
                self._tell(symbol, done, total)
                runs += bars.check(symbol, day, view.closed_us(symbol))
                done += 1
            self._ids.check(symbol, runs)
        self._tell("bars", total, total)


def _marked(cursor: Cursor, symbol: str | None) -> list[str]:
    cursor.execute(_MARKS, (symbol,))
    row = cursor.fetchone()
    return [f"{row[0]:,} ranges are marked; their bars are rebuilt when they are due"] if row and row[0] else []
