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
