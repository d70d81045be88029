"""Writers' and aggregator's transactions in the test's own process: time is what the test says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import redis
from psycopg2.extensions import connection as Connection

from aggregator import checkpoint
from aggregator.barstore import BarLeaves, Settled
from aggregator.core import Core, Mark, Outcome
from aggregator.rebuild import Span, rebuild
from aggregator.revised import follow_up
from aggregator.service import loose_rows
from aggregator.store import BarsStore
from common.codec import encode_rows
from common.columns import Batch, read_entries
from common.database import connect_database, transaction
from common.events import Event
from common.judge import Limits
from common.settings import Settings
from common.streams import Entry, EntryId
from common.trades import Trade
from consumer.store import TickStore
from tests.pipeline import DIFFERENCES

#: 2026-01-15T12:00:00Z, a whole day's multiple of nothing but five minutes.
START_US = 1_768_478_400_000_000
SECOND = 1_000_000


class House:
    """Feeds trades to both readers of the stream, as a stream would."""

    def __init__(self, settings: Settings, client: redis.Redis, database: Connection) -> None:
        self.settings, self.client, self.database = settings, client, database
        self._writer = connect_database(settings, "test writer")
        self.ticks = TickStore(self._writer, "worker-0")
        self.leaves, self.now_ms, self.events = BarLeaves(), START_US // 1000, list[Event]()
        self.all_stored = True  # of what was read since the last doubt
        self.start()

    def start(self) -> None:
        """(Re)start the aggregator from its checkpoint."""
        self.core = Core(self.settings.timeframes, self.settings.lateness_ms)
        self.store = BarsStore(self.settings, self.database, 0, self.core)
        found = self.store.take_over()
        if found.state is not None:
            checkpoint.restore(self.core, found.state)
        self.store.load_pairs()

    def write(self, trades: Sequence[Trade], src: str = "binance.trade") -> tuple[list[Entry], Batch]:
        """An entry of these trades, stored by the writer and not yet read by the aggregator."""
        self.now_ms = max(self.now_ms, max(trade.event_us for trade in trades) // 1000) + 1
        entries = [Entry(EntryId(self.now_ms, 0), src, encode_rows(trades).encode())]
        batch = read_entries(entries, Limits(0, 0))
        self.ticks.store("trades", entries, batch)
        return entries, batch

    def take(self, trades: Sequence[Trade], src: str = "binance.trade") -> None:
        """An entry of these trades through both readers."""
        self.read(*self.write(trades, src))
        if self.all_stored:
            self.core.note_stored()

    def see(self, trades: Sequence[Trade], src: str = "binance.trade") -> None:
        """An entry of these trades that only the aggregator reads: Redis forgets it before a writer comes."""
        self.now_ms = max(self.now_ms, max(trade.event_us for trade in trades) // 1000) + 1
        entries = [Entry(EntryId(self.now_ms, 0), src, encode_rows(trades).encode())]
        self.all_stored = False
        self.read(entries, read_entries(entries, Limits(0, 0)))

    def read(self, entries: list[Entry], batch: Batch) -> None:
        """What the aggregator does with entries."""
        columns = batch.columns
        arrived_ms = np.full(len(columns), self.now_ms)
        self.commit(self.core.on_trades(columns, arrived_ms, self.now_ms, loose_rows(entries, columns.entry)))

    def quiet(self, seconds: float) -> None:
        """Nothing comes for a while."""
        self.now_ms += int(seconds * 1000)
        self.commit(self.core.on_time(self.now_ms))

    def doubt(self, back_us: int = 3600 * SECOND) -> None:
        """The aggregator finds the stream changed."""
        stored_us, self.all_stored = self.store.stored_since_us(back_us), True
        self.commit(Outcome(marks=self.core.doubt("the stream was emptied", back_us, stored_us)))

    def trust(self) -> None:
        """The aggregator has caught up after a doubt."""
        lost = self.store.lost_ids(self.core.doubted_since_us)
        self.core.trust()
        marks = [Mark(name, us, us, "gap") for name, hole in lost for us in (hole.from_us, hole.to_us)]
        self.commit(Outcome(marks=marks, holes=lost))

    def commit(self, outcome: Any) -> None:
        """What the aggregator does with an outcome."""
        events, _ = self.store.commit(outcome, EntryId(self.now_ms, 0))
        self.events += events

    def rebuild_marks(self, follow: bool = True) -> list[Settled]:
        """What the tasks do with all marks."""
        settled: list[Settled] = []
        for mark, symbol, first_us, last_us in self.rows("SELECT id, symbol, first_us, last_us FROM dirty_ranges ORDER BY id"):
            settled += self.rebuild(Span(symbol, first_us, last_us), mark)
        if follow:
            follow_up(self.settings, self.client, self.database, self.leaves)
        return settled

    def rebuild(self, span: Span, *marks: int) -> list[Settled]:
        """Rebuild a span of closed bars."""
        closed_us = self.core.watermarks().get(span.symbol, 0)
        names = self.settings.timeframes
        return rebuild(self.database, self.leaves, span, names, closed_us, self.settings.shards, marks)

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """What a query answers now."""
        with transaction(self.database), self.database.cursor() as cursor:
            cursor.execute(query, params or None)
            return cursor.fetchall() if cursor.description else []

    def differences(self) -> list[tuple[Any, ...]]:
        """Where closed bars differ from SQL over the ticks."""
        closed_us = min(self.core.watermarks().values())
        return self.rows(DIFFERENCES.replace("%s", f"to_timestamp({closed_us} / 1000000.0)"))

    def close(self) -> None:
        """Leave the servers."""
        self._writer.close()


def each_second(symbol: str, prices: Sequence[str], first_id: int = 1, start_us: int = START_US, size: str = "1") -> list[Trade]:
    """A trade a second; an empty price is a second without one."""
    made = [(n, price) for n, price in enumerate(prices) if price]
    return [Trade(symbol, first_id + at, start_us + n * SECOND + 100_000, price, size, "b") for at, (n, price) in enumerate(made)]
