"""What clients sent, and what they were told: a 2xx is a promise that these trades are stored."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from common.trades import Trade
from ops.chaos.world import World


@dataclass(slots=True)
class Promise:
    """Trades of one request or file."""

    what: str
    trades: list[Trade]
    began_s: float = field(default_factory=time.monotonic)  # of the attempt that was acknowledged, or of the last one
    acknowledged: bool = False
    confirmed: bool = False  # seen in the table
    forgotten: bool = False  # Redis lost its memory after the acknowledgement and before anyone saw the trades in the table

    def begin(self) -> None:
        """A new attempt: what happened before it is nothing to it."""
        self.began_s, self.forgotten = time.monotonic(), False


class Ledger:
    """All promises; used by several threads."""

    def __init__(self) -> None:
        self._promises: list[Promise] = []
        self._lock = threading.Lock()

    def add(self, promise: Promise) -> Promise:
        """Remember a promise before its first attempt."""
        with self._lock:
            self._promises.append(promise)
        return promise

    def __iter__(self) -> Iterator[Promise]:
        with self._lock:
            return iter(list(self._promises))

    def confirm(self, world: World) -> None:
        """Look which acknowledged trades are stored by now: these no longer depend on Redis."""
        waiting = [promise for promise in self if promise.acknowledged and not promise.confirmed]
        ids = [trade.trade_id for promise in waiting for trade in promise.trades]
        stored = set(world.rows("SELECT symbol, trade_id FROM raw_ticks WHERE trade_id = ANY(%s)", ids)) if ids else set()
        for promise in waiting:
            promise.confirmed = _all_in(promise.trades, stored)

    def redis_forgot(self) -> None:
        """Redis has just lost what it had: promises up to now that nobody saw stored are no promises any more."""
        for promise in self:
            promise.forgotten = promise.forgotten or not promise.confirmed

    def postgres_forgot(self) -> None:
        """PostgreSQL is what it was a while ago: the stream still has the trades, but a file's task may be gone with its row.

        What was seen in the table has to be seen there again.
        """
        for promise in self:
            promise.forgotten = promise.forgotten or (promise.what == "file" and not promise.confirmed)
            promise.confirmed = False


def _all_in(trades: Iterable[Trade], stored: set[tuple[str, int]]) -> bool:
    return all((trade.symbol, trade.trade_id) in stored for trade in trades)
