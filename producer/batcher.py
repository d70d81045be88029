"""Rows into micro-batches: sent when full or old enough, whichever comes first. Pure: the clock is the caller's."""

from collections.abc import Sequence
from typing import NamedTuple


class Batch(NamedTuple):
    """A stream entry to be: rows of one stream and one source."""

    stream: str
    src: str
    n: int  # how many
    rows: str


class Batcher:
    """Collects rows by (stream, source); order within each is kept.

    >>> batcher = Batcher(max_rows=2, linger_s=0.005)
    >>> batcher.add("trades", "binance.trade", "a\\n", 0.0)
    >>> batcher.due_in_s(0.004)
    0.001
    >>> batcher.add("trades", "binance.trade", "b\\n", 0.001)
    Batch(stream='trades', src='binance.trade', n=2, rows='a\\nb\\n')
    """

    def __init__(self, max_rows: int, linger_s: float) -> None:
        self._max_rows, self._linger_s = max_rows, linger_s
        self._held: dict[tuple[str, str], list[str]] = {}
        self._since_s: dict[tuple[str, str], float] = {}  # oldest first: a dict keeps the order of its inserts

    def add(self, stream: str, src: str, row: str, now_s: float) -> Batch | None:
        """Hold a row; answers the batch it has filled."""
        key = stream, src
        rows = self._held.get(key)
        if rows is None:
            self._held[key] = rows = []
            self._since_s[key] = now_s
        rows.append(row)
        return self._take(key) if len(rows) >= self._max_rows else None

    def extend(self, stream: str, src: str, rows: Sequence[str], now_s: float) -> list[Batch]:
        """Hold many rows; answers the batches they have filled."""
        key, full = (stream, src), []
        held = self._held.setdefault(key, [])
        self._since_s.setdefault(key, now_s)
        held.extend(rows)
        while len(held) >= self._max_rows:
            batch, rest = held[: self._max_rows], held[self._max_rows :]
            full.append(Batch(stream, src, len(batch), "".join(batch)))
            self._held[key] = held = rest
            self._since_s[key] = now_s
        if not held:
            del self._held[key], self._since_s[key]
        return full

    def due(self, now_s: float) -> list[Batch]:
        """The batches whose oldest row has waited long enough, oldest first."""
        held = [key for key, since_s in self._since_s.items() if now_s - since_s >= self._linger_s]
        return [self._take(key) for key in held]

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a batch is due, 0 if one is; None while nothing is held."""
        if not self._since_s:
            return None
        return max(0.0, next(iter(self._since_s.values())) + self._linger_s - now_s)

    def drain(self) -> list[Batch]:
        """All that is held, oldest first."""
        return [self._take(key) for key in list(self._since_s)]

    def _take(self, key: tuple[str, str]) -> Batch:
        rows = self._held.pop(key)
        del self._since_s[key]
        return Batch(*key, len(rows), "".join(rows))
