"""Rows that the judge accepts and PostgreSQL refuses all the same: found by halving, so that one never blocks the rest."""

import io
from dataclasses import dataclass

import numpy as np
import psycopg2
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor

from common.codec import COLUMNS, decode_row
from common.columns import Batch, DeadRow
from common.database import blames_a_row
from common.errors import InvalidTrade
from common.streams import EntryId
from common.trades import utc_day

COPY_STAGED = f"COPY staged ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv)"
_MARK = """INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
VALUES (%s, %s, %s, %s, %s, %s, 'a row was refused by PostgreSQL', true)"""
_MARK_AGAIN = """INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason, doubts_memory)
VALUES (%s, %s, %s, %s, %s, %s, 'a row that was refused came again', true)"""
_LETTERS = "SELECT id, payload FROM dead_letters WHERE id > %s AND field = 'row' AND stream LIKE 'trades%%' ORDER BY id"
#: Letters whose transaction may have ended after that of a letter with a larger id.
_OVERLAP = 10_000
#: Refused trades that are remembered.
MOST_REFUSED = 100_000


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that the server refused; the aggregator has counted it."""

    text: str
    entry: int
    row_number: int
    reason: str

    def dead_row(self) -> DeadRow:
        """As a dead letter."""
        return DeadRow(self.entry, self.row_number, "row", self.reason, self.text)

    def mark(self, cursor: Cursor, stream: str, entry_id: EntryId) -> None:
        """Mark its bars dirty: the aggregator counted what `raw_ticks` does not hold."""
        trade = decode_row(self.text)
        cursor.execute(_MARK, (trade.symbol, trade.event_us, trade.event_us, stream, entry_id.ms, entry_id.seq))


def stage_or_refuse(cursor: Cursor, batch: Batch) -> list[Refused]:
    """Copy the batch's rows into `staged`, all but those that can't be inserted."""
    rows = batch.rows.split(b"\n")[:-1]
    refused: list[Refused] = []
    spans = [(0, len(rows))]
    while spans:
        start, end = spans.pop()
        reason = _try_span(cursor, rows[start:end])
        if reason and end - start == 1:
            refused.append(_name_row(batch, start, rows[start].decode(), reason))
        elif reason:
            middle = (start + end) // 2
            spans += [(middle, end), (start, middle)]
    return refused


def _try_span(cursor: Cursor, rows: list[bytes]) -> str | None:
    """Stage and insert these rows, then keep only the staging; the server's reason if it refuses."""
    cursor.execute("SAVEPOINT span")
    try:
        cursor.copy_expert(COPY_STAGED, io.BytesIO(b"\n".join(rows) + b"\n"), size=1 << 20)
        cursor.execute("SAVEPOINT probe")
        cursor.execute(
            "INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size, side, seq)"
            " SELECT symbol, trade_id, timestamp, price, size, side, seq FROM staged ON CONFLICT DO NOTHING"
        )
        cursor.execute("ROLLBACK TO SAVEPOINT probe")
        return None
    except psycopg2.Error as exc:
        if not blames_a_row(exc) or lacks_a_leaf(exc):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT span")
        return (exc.pgerror or str(exc)).splitlines()[0]


def lacks_a_leaf(exc: psycopg2.Error) -> bool:
    """True if no leaf takes the row: one is missing, the row is not to blame."""
    return isinstance(exc, errors.CheckViolation) and exc.diag.constraint_name is None


def _name_row(batch: Batch, at: int, text: str, reason: str) -> Refused:
    entries = batch.columns.entry
    entry = int(entries[at])
    dead_before = {row.row_number for row in batch.dead if row.entry == entry}
    place = at - int(entries.searchsorted(entry))
    numbers = (number for number in range(place + len(dead_before) + 1) if number not in dead_before)
    return Refused(text, entry, next(number for index, number in enumerate(numbers) if index == place), reason)


class RefusedBefore:
    """Trades that PostgreSQL refused, by any worker, at any time.

    The aggregator may have counted such a trade, and takes it as a repeat when it comes again; its bars were rebuilt without it.
    So whoever stores it then marks them.
    """

    def __init__(self) -> None:
        self._letters_counted = 0
        self._newest_letter = 0
        self._stamps: dict[str, dict[tuple[int, int], None]] = {}  # symbol -> (trade_id, UTC day), the oldest first

    def look(self, cursor: Cursor, letters_counted: int) -> None:
        """Read the letters if the workers count other ones than before."""
        if letters_counted == self._letters_counted:
            return
        self._letters_counted = letters_counted
        cursor.execute(_LETTERS, (self._newest_letter - _OVERLAP,))
        for letter_id, payload in cursor:
            self._newest_letter = max(self._newest_letter, letter_id)
            self._remember(payload)

    def mark(self, cursor: Cursor, batch: Batch, stream: str, entry_id: EntryId) -> None:
        """Mark the bars of those that are in a batch."""
        columns = batch.columns
        for code, symbol in enumerate(columns.symbols):
            known = self._stamps.get(symbol)
            if not known:
                continue
            ids = np.fromiter((trade_id for trade_id, _ in known), dtype=np.int64)
            for row in np.flatnonzero((columns.symbol == code) & np.isin(columns.trade_id, ids)).tolist():
                event_us = int(columns.event_us[row])
                if (int(columns.trade_id[row]), utc_day(event_us)) in known:
                    cursor.execute(_MARK_AGAIN, (symbol, event_us, event_us, stream, entry_id.ms, entry_id.seq))

    def _remember(self, payload: str) -> None:
        try:
            trade = decode_row(payload)
        except InvalidTrade:
            return  # the judge's, not PostgreSQL's: no reader ever counted it
        known = self._stamps.setdefault(trade.symbol, {})
        known[trade.trade_id, utc_day(trade.event_us)] = None
        if len(known) > MOST_REFUSED:
            del known[next(iter(known))]
