"""A writer, the aggregator's own loop and the rebuild on the real servers, each of them moved by the test alone."""

import math
import time
from collections.abc import Sequence

import redis
from psycopg2.extensions import connection as Connection

from aggregator.barstore import BarLeaves
from aggregator.rebuild import Span, rebuild
from aggregator.service import Service
from common.columns import read_entries
from common.database import connect_database
from common.judge import Limits
from common.lifecycle import Stop
from common.settings import Settings
from common.trades import Trade
from consumer.group import WritersGroup
from consumer.store import TickStore
from tests.pipeline import DUE_MARKS, Pipeline

STREAM = "trades"
_DUE = DUE_MARKS.replace("count(*)", "id, symbol, first_us, last_us", 1)
_CLOSED = "SELECT value::bigint FROM checkpoints, jsonb_each_text(watermarks) WHERE key = %s"


class ByHand:
    """What the processes do, in turns that the test gives them."""

    def __init__(self, settings: Settings, client: redis.Redis, database: Connection) -> None:
        self.settings, self.client, self.database = settings, client, database
        self.pipeline = Pipeline(settings, client, database)
        self._sessions = [connect_database(settings, "test writer")]
        self._group = WritersGroup(client, [STREAM], "worker-0")
        self._ticks = TickStore(self._sessions[0], "worker-0")
        self._leaves = BarLeaves()
        self._group.ensure()

    def start(self) -> None:
        """(Re)start the aggregator from its checkpoint."""
        self._sessions.append(connect_database(self.settings, "test aggregator"))
        self.service = Service(self.settings, Stop(), 0, self._sessions[-1])
        self.service._start()

    def aggregate(self, turns: int = 3, looks: bool = True) -> None:
        """The aggregator looks at the stream, reads what is there, and commits; `looks` False: by chance the look is not due."""
        for _ in range(turns):
            self.service._next_look_s = 0.0 if looks else math.inf
            self.service._turn()
        self.service._commit()

    @property
    def is_doubting(self) -> bool:
        """Until the aggregator trusts its memory again."""
        return self.service._core.doubting

    def unstored_since_us(self) -> int:
        """First stamp of what the aggregator has read of symbol 0, and does not know to be stored."""
        return int(self.service._core.symbols.unstored.first_us(1)[0])

    def quiet(self, seconds: int) -> None:
        """Nothing comes for a while."""
        self.service._core.on_time((int(time.time()) + seconds) * 1000, self.service._held)
        self.service._commit()

    def send(self, trades: Sequence[Trade], src: str = "api.trade") -> None:
        """An entry of these trades; as the ids of this source need not follow on each other, no gap asks for its bars."""
        self.pipeline.send(trades, src)

    def write(self) -> None:
        """The writer stores all that waits."""
        self._group.ensure()
        for entries in self._group.read_new(1_000, 1).values():
            counts = self._ticks.store(STREAM, entries, read_entries(entries, Limits(0, 0)))
            self._group.ack(STREAM, entries, counts.of_worker)

    def rebuild(self) -> None:
        """What the tasks do with the marks that are due."""
        for _ in range(2):  # a gap that was filled asks for its bars
            for mark, symbol, first_us, last_us in self.pipeline.rows(_DUE):
                closed_us = self.pipeline.scalar(_CLOSED, symbol) or 0
                span, timeframes = Span(symbol, first_us, last_us), self.settings.timeframes
                rebuild(self.database, self._leaves, span, timeframes, closed_us, self.settings.shards, (mark,))

    def close(self) -> None:
        """Leave the servers."""
        for session in self._sessions:
            session.close()
