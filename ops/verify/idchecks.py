"""Laws 1 and 2 by ids, of one symbol after the other."""

from psycopg2.extensions import cursor as Cursor

from common.sources import ids_follow_on
from ops.verify.ids import (
    Ids,
    Run,
    holes,
    is_unfed,
    missing_finding,
    repeat_finding,
    repeated_ids,
    still_missing,
)
from ops.verify.moment import Session
from ops.verify.report import Check, Finding

_GAPS = """
SELECT symbol, first_id, last_id, state FROM gaps WHERE state <> 'closed' AND symbol = coalesce(%s, symbol)
ORDER BY symbol, first_id
"""
_STATES = {"open": "an open gap", "lost": "lost, the venue does not have them"}


class IdChecks:
    """Ids that follow on each other, and ids that are on one day only."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.order = Check(1, "exchange ids follow on each other", "ids")
        self.repeats = Check(2, "no id on two days", "ids")
        self.holes: list[Finding] = []

    def tell_open_gaps(self, cursor: Cursor, symbol: str | None) -> None:
        """What is missing and known to be."""
        cursor.execute(_GAPS, (symbol,))
        self.order.known = [f"{name} ids {Ids(first, last)}: {_STATES[state]}" for name, first, last, state in cursor.fetchall()]

    def check(self, symbol: str, runs: list[Run]) -> None:
        """Look at the runs of all days of a symbol."""
        count = sum(run.high - run.low + 1 for run in runs)
        self.order.checked += count
        self.repeats.checked += count
        self.repeats.add(repeat_finding(symbol, ids, (one, two)) for ids, one, two in repeated_ids(runs))
        days = sorted({run.day for run in runs})
        found = []
        for ids, *sides in holes(runs):
            if is_unfed((min(sides), max(sides)), days):
                self.order.known.append(f"{symbol} ids {ids}: whole days without a trade lie in it")
            else:
                found.append(ids)
        if found:
            self._judge(symbol, found)

    def _judge(self, symbol: str, found: list[Ids]) -> None:
        stored = self._session.stored()
        with self._session.snapshot() as cursor:
            missing = [ids for hole in found for ids in still_missing(cursor, symbol, hole)]
            if missing and _is_loose(cursor, symbol):
                self.order.known.append(f"{symbol} has {len(missing):,} holes in the ids that its clients gave")
            elif missing:
                flight = self._session.in_flight(stored, cursor)
                lost = [ids for ids in missing if not flight.touches_ids(symbol, ids.low - 1, ids.high + 1)]
                self.order.pending += len(missing) - len(lost)
                findings = [missing_finding(cursor, symbol, ids) for ids in lost]
                self.order.add(findings)
                self.holes += findings


def _is_loose(cursor: Cursor, symbol: str) -> bool:
    """Nobody registered says nothing: then a hole is a hole."""
    cursor.execute("SELECT src FROM sources WHERE symbol = %s", (symbol,))
    row = cursor.fetchone()
    return row is not None and not ids_follow_on(row[0])
