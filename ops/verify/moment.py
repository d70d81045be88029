"""What may be judged while everything runs.

A bar is closed for us if the aggregators had committed its end in one moment, and the writers have stored since then every entry
that they had used. What comes later can only touch such a bar by a late trade, in an entry that one reader has finished and the
other has not: trades of these entries are in flight, and what they touch is not judged.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from common.columns import Columns, read_entries
from common.database import transaction
from common.errors import StoreUnavailable
from common.judge import Limits
from common.settings import Settings
from common.streams import START, EntryId, last_delivered, read_range, stream_names, writers_position
from common.view import View, committed_view

Array = np.ndarray[Any, Any]
Positions = Mapping[str, EntryId]
#: How long the writers may take to store what the aggregators had used.
STORED_WITHIN_S = 20.0
_CHUNK = 500
_WIDE = "SET work_mem = '64MB'; SET enable_nestloop = off"


class Session:
    """The servers, and one moment of the database after the other."""

    def __init__(self, settings: Settings, client: redis.Redis, connection: Connection) -> None:
        self.settings, self.client, self._connection = settings, client, connection
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
        with self.snapshot() as cursor:
            cursor.execute(_WIDE)

    @contextmanager
    def snapshot(self) -> Iterator[Cursor]:
        """One moment of the database."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            yield cursor

    def stored(self) -> dict[str, EntryId]:
        """Where the writers are, by stream. Ask before a snapshot: it then holds all up to there."""
        return {stream: writers_position(self.client, stream) or START for stream in stream_names(self.settings)}

    def in_flight(self, stored: Positions, cursor: Cursor) -> "Flight":
        """Trades that a snapshot may hold in ticks only, or in bars only; `stored` was asked before it began."""
        used = committed_view(cursor, self.settings).positions
        limits, parts = Limits.of(self.settings), []
        for stream in stream_names(self.settings):
            at, delivered = used.get(stream, START), last_delivered(self.client, stream) or START
            after, until = min(at, stored.get(stream, START)), max(at, delivered)
            while after < until and (entries := read_range(self.client, stream, after, until, _CHUNK)):
                parts.append(read_entries(entries, limits).columns)
                after = entries[-1].id
        return _flight(parts)

    def wait_stored(self, view: View) -> str | None:
        """Wait until the writers have stored what the aggregators had used; what to say if they don't get there."""
        try:
            view.wait_stored(self.client, STORED_WITHIN_S)
        except StoreUnavailable as exc:
            return f"{exc}; what they have not stored yet is left out"
        return None


@dataclass(slots=True)
class Flight:
    """Trades in flight: sorted stamps and sorted ids by symbol."""

    stamps: dict[str, Array] = field(default_factory=dict)
    ids: dict[str, Array] = field(default_factory=dict)

    def touches_time(self, symbol: str, start_us: int, end_us: int) -> bool:
        """True if one is stamped in `[start_us, end_us)`."""
        return _any_between(self.stamps.get(symbol), start_us, end_us - 1)

    def touches_ids(self, symbol: str, low: int, high: int) -> bool:
        """True if one's id is in `low..high`."""
        return _any_between(self.ids.get(symbol), low, high)


def _flight(parts: list[Columns]) -> Flight:
    stamps: dict[str, list[Array]] = {}
    ids: dict[str, list[Array]] = {}
    for columns in parts:
        for code, symbol in enumerate(columns.symbols):
            rows = columns.symbol == code
            stamps.setdefault(symbol, []).append(columns.event_us[rows])
            ids.setdefault(symbol, []).append(columns.trade_id[rows])
    return Flight(
        {symbol: np.sort(np.concatenate(arrays)) for symbol, arrays in stamps.items()},
        {symbol: np.sort(np.concatenate(arrays)) for symbol, arrays in ids.items()},
    )


def _any_between(values: Array | None, low: int, high: int) -> bool:
    if values is None:
        return False
    at = int(np.searchsorted(values, low))
    return at < len(values) and int(values[at]) <= high
