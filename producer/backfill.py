"""Fetches by REST what the table `gaps` names as missing, and notes there what the venue does not have.

One thread. Live trades and the catch-up go first: a part of the request weight is theirs alone, and nothing is fetched while
the spool holds trades or a symbol catches up. Fetched trades go into the stream as any other; the rebuild closes the gap.
"""

import queue
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.database import connect_database, transaction
from common.errors import FeedRejected, FeedUnavailable, MalformedMessage
from common.gaps import Gap, GapRow, keep_missing, lose, missing_pieces, record, row_of
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.streams import stream_of
from common.trades import Trade
from producer.flow import Flow
from producer.missing import Asked, Given, Known
from producer.past import PastTrades
from producer.publisher import Publisher

LOOK_S = 1.0
SETTLE_S = 3.0  # a younger gap may be a trade that overtook another, or be filled by the catch-up
STORE_S = 10.0  # ids that were fetched are not asked for again before
UNFED_S = 60.0  # how often gaps of symbols that are not fed, or that REST refuses, are looked at
PAGES_A_TURN = 50
EMPTY_TURNS = 10  # a page may be empty for a moment, where REST is behind the stream
LOOKED_AT = 200  # gaps a turn

_OPEN = """
SELECT id, symbol, first_id, last_id, from_us, to_us, state, note, found_at FROM gaps
WHERE state = 'open' AND found_at < now() - %s * interval '1 second' ORDER BY last_id - first_id >= %s, from_us, id LIMIT %s
"""
_LOCK = "SELECT pg_try_advisory_xact_lock('gaps'::regclass::oid::integer, %s::integer)"
_SAME = "SELECT 1 FROM gaps WHERE id = %s AND state = 'open' AND first_id = %s AND last_id = %s FOR UPDATE SKIP LOCKED"
_NOTE = "UPDATE gaps SET note = %s WHERE id = %s AND note <> %s"
_STAMP = "SELECT (extract(epoch FROM max(timestamp)) * 1000000)::bigint FROM raw_ticks WHERE symbol = %s AND trade_id = %s"

log = get_logger(__name__)


class Backfill:
    """`run` is the thread's body. What the feed knows to be missing comes by the queue `known`."""

    def __init__(
        self, settings: Settings, flows: Sequence[Flow], past: PastTrades, publisher: Publisher,
        known: "queue.SimpleQueue[Known]", busy: Callable[[str], bool], stop: Stop,
    ) -> None:  # fmt: skip
        self._settings, self._past, self._publisher, self._busy, self._stop = settings, past, publisher, busy, stop
        self._flows = {flow.symbol: flow for flow in flows}
        self._connection: Connection | None = None
        self._known = known
        self._asked = Asked()
        self._empty: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._refused: set[str] = set()
        self.lost = 0
        self.samples = past.samples

    @property
    def fetched(self) -> int:
        """Trades sent."""
        return self._past.sent

    def run(self) -> None:
        """Fill gaps until asked to stop."""
        delays_s = backoff_s(1.0, 30.0)
        while not self._stop.wait(LOOK_S):
            try:
                self._turn(self._connected())
                delays_s = backoff_s(1.0, 30.0)
            except (FeedUnavailable, MalformedMessage, psycopg2.Error) as exc:
                delay_s = next(delays_s)
                log.warning("gaps wait: %s; next try in %.1f s", str(exc).strip(), delay_s)
                if isinstance(exc, psycopg2.Error):
                    self._disconnect()
                self._stop.wait(delay_s)
        self._disconnect()

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect_database(self._settings, "producer.backfill")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _turn(self, connection: Connection) -> None:
        """Write down what the feed knows, then some pages for each open gap, oldest first."""
        self._write_known(connection)
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_OPEN, (SETTLE_S, self._settings.backfill_max_trades, LOOKED_AT))
            rows = [row_of(row) for row in cursor.fetchall()]
        for row in rows:
            if self._stop.requested() or self._publisher.spool_bytes:
                return
            if not self._busy(row.gap.symbol):
                self._look_at(connection, row)

    def _write_known(self, connection: Connection) -> None:
        while not self._known.empty():
            known = self._known.get()
            try:
                with transaction(connection), connection.cursor() as cursor:
                    gap = known.gap if known.gap.from_us else known.gap._replace(from_us=_stamp_before(cursor, known.gap))
                    record(cursor, gap, known.state, known.note, stream_of(gap.symbol, self._settings.shards))
            except BaseException:
                self._known.put(known)
                raise

    def _look_at(self, connection: Connection, row: GapRow) -> None:
        if row.gap.trades > self._settings.backfill_max_trades:
            return self._leave(connection, row, "has more trades than GEMS_BACKFILL_MAX_TRADES: import them")
        gap, now_s = row.gap, time.monotonic()
        from_id = self._asked.next_id(gap.symbol, gap.first_id, now_s)
        if from_id > gap.last_id:
            return None
        if from_id == gap.first_id and self._is_stored(connection, row):
            return None
        if gap.symbol not in self._flows or gap.symbol in self._refused:
            return self._asked.note(*gap[:3], now_s + UNFED_S)
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_LOCK, (row.id % 2**31,))
            if cursor.fetchone() == (True,):  # else another producer is at it
                self._fetch(cursor, gap, from_id)
        return None

    def _leave(self, connection: Connection, row: GapRow, why: str) -> None:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_NOTE, (why, row.id, why))
            if cursor.rowcount:
                log.warning("gap %s is not fetched: it %s", row.gap, why)

    def _is_stored(self, connection: Connection, row: GapRow) -> bool:
        """True if the row said more than is missing now; it is put right."""
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_SAME, (row.id, row.gap.first_id, row.gap.last_id))
            if cursor.fetchone() is None:
                return True
            pieces = missing_pieces(cursor, row.gap, row.gap.from_us, row.gap.to_us)
            return keep_missing(cursor, row, pieces, stream_of(row.gap.symbol, self._settings.shards))

    def _fetch(self, cursor: Cursor, gap: Gap, from_id: int) -> None:
        """Some pages of a gap into the stream, from an id on."""
        first_id, before_us, lost = from_id, gap.from_us, list[Gap]()
        try:
            for _ in range(PAGES_A_TURN):
                page = self._past.page(gap.symbol, from_id)
                if not page:
                    lost += self._nothing_from(gap, from_id, before_us)
                    break
                given = Given.of(gap, from_id, before_us, page)
                lost += given.absent
                lost += [Gap(gap.symbol, t.trade_id, t.trade_id, t.event_us, t.event_us) for t in self._send(gap, given.trades)]
                from_id, before_us = given.next_id, given.last_us
                if from_id > gap.last_id or self._stop.requested() or self._publisher.spool_bytes:
                    break
        except FeedRejected as exc:
            log.error("gap %s: REST refuses (%s); it is asked again after the next start", gap, exc)
            self._refused.add(gap.symbol)
        finally:
            self._past.hand_on()
            if from_id > first_id:
                self._asked.note(gap.symbol, first_id, from_id - 1, time.monotonic() + STORE_S)
                log.info("gap %s: fetched up to %d", gap, min(from_id - 1, gap.last_id))
        for part in lost:
            self.lost += part.trades
            log.warning("gap %s is lost: the venue does not have it, or it can not be used", part)
            lose(cursor, part, "the venue does not have it, or the judge refuses it")

    def _send(self, gap: Gap, trades: Sequence[Trade]) -> list[Trade]:
        """Answers those that the judge refuses: they are in the dead letters."""
        flow = self._flows[gap.symbol]
        return [trade for trade in trades if not self._past.send(flow, trade)]

    def _nothing_from(self, gap: Gap, from_id: int, before_us: int) -> list[Gap]:
        """An empty page: after some, it is true."""
        key = gap.symbol, from_id
        self._empty[key] += 1
        if self._empty[key] < EMPTY_TURNS:
            return []
        del self._empty[key]
        return [gap._replace(first_id=from_id, from_us=before_us)]


def _stamp_before(cursor: Cursor, gap: Gap) -> int:
    cursor.execute(_STAMP, (gap.symbol, gap.first_id - 1))
    row = cursor.fetchone()
    return int(row[0]) if row and row[0] is not None else gap.to_us
