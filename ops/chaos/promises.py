"""What clients sent, and what they were told: a 2xx promises that these trades are stored, whatever is destroyed then."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from common.trades import Trade


@dataclass(slots=True)
class Promise:
    """Trades of one request or file."""

    what: str
    trades: list[Trade]
    acknowledged: bool = False


@dataclass(slots=True)
class Poison:
    """An entry with rows that are none: these end in the dead letters, in the transaction that stores the others."""

    entry_id: str
    good: list[Trade]
    bad: int  # rows


class Ledger:
    """All promises; used by several threads. `poisons`: what was put into the stream past every judge."""

    def __init__(self) -> None:
        self._promises: list[Promise] = []
        self.poisons: list[Poison] = []
        self._lock = threading.Lock()

    def add(self, promise: Promise) -> Promise:
        """Remember a promise before its first attempt."""
        with self._lock:
            self._promises.append(promise)
        return promise

    def __iter__(self) -> Iterator[Promise]:
        with self._lock:
            return iter(list(self._promises))
