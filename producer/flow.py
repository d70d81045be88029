"""A symbol's trades in the order of their ids: what is a repeat, what is missing, and what has to wait for it.

One feed thread offers live trades; the catch-up thread fetches what is missing. Live trades wait (`held`) until the
missing ones are in, so that the stream has each symbol's trades in order.
"""

import threading
from collections import deque
from enum import Enum

from common.trades import Trade

HELD_TRADES = 100_000  # past it the oldest are let go: the catch-up fetches them too


class Verdict(Enum):
    """What becomes of a live trade."""

    PASS = "pass"  # send it
    HELD = "held"  # it waits behind a catch-up
    REPEAT = "repeat"  # it has been seen
    JUMP = "jump"  # it waits, and a catch-up has to begin


#: In Python 3.11 `Verdict.PASS` costs as much as a call.
PASS, HELD, REPEAT, JUMP = Verdict


class Flow:
    """The sequence of one symbol. `last_id` is the last id passed on; None before the first."""

    def __init__(self, symbol: str, src: str, stream: str) -> None:
        self.symbol, self.src, self.stream = symbol, src, stream
        self.last_id: int | None = None
        self.last_us = 0
        self.heard_s = 0.0  # when the connection last brought a trade of it, monotonic
        self.fetched = 0  # trades that came by REST
        self.connected_before = False  # its first catch-up may begin at the history
        self.catching = False
        self._held: deque[Trade] = deque(maxlen=HELD_TRADES)
        self._lock = threading.Lock()

    def offer(self, trade: Trade) -> Verdict:
        """A live trade in the order it came in.

        An id at or below the last one with a later stamp is no repeat but a venue that counts anew: it passes.
        """
        if self.catching and self._hold(trade):
            return HELD
        trade_id, last_id = trade.trade_id, self.last_id
        if last_id is not None and trade_id != last_id + 1:
            if self._is_repeat(trade):
                return REPEAT
            if trade_id > last_id:
                self.begin()
                self._hold(trade)
                return JUMP
        self.last_id = trade_id
        self.last_us = trade.event_us
        return PASS

    def begin(self) -> None:
        """From now on live trades wait."""
        with self._lock:
            self.catching = True

    def take_run(self, most: int = 1000) -> list[Trade]:
        """The held trades that follow `last_id` without a hole, at most so many; `last_id` moves past them."""
        run: list[Trade] = []
        with self._lock:
            while self._held and len(run) < most:
                trade = self._held[0]
                if self.last_id is not None and trade.trade_id > self.last_id + 1:
                    break
                self._held.popleft()
                if not self._is_repeat(trade):
                    self.last_id, self.last_us = trade.trade_id, trade.event_us
                    run.append(trade)
        return run

    def missing(self) -> tuple[int, int] | None:
        """First and last id that is missing before the oldest held trade; None if none is."""
        with self._lock:
            if not self._held or self.last_id is None or self._held[0].trade_id <= self.last_id + 1:
                return None
            return self.last_id + 1, self._held[0].trade_id - 1

    def held_us(self) -> int:
        """Stamp of the oldest held trade; 0 if none is held."""
        with self._lock:
            return self._held[0].event_us if self._held else 0

    def sort_held(self) -> None:
        """Put what waits in the order of its ids: a trade that overtook another is no hole."""
        with self._lock:
            self._held = deque(sorted(self._held, key=lambda trade: trade.trade_id), HELD_TRADES)

    @property
    def holding(self) -> bool:
        """True while live trades wait."""
        return bool(self._held)

    def skip_to_held(self) -> None:
        """Give up what is missing before the oldest held trade."""
        with self._lock:
            if self._held:
                self.last_id = self._held[0].trade_id - 1

    def end(self) -> bool:
        """Live trades pass again, unless some are still held; answers whether they do."""
        with self._lock:
            self.catching = bool(self._held)
            return not self.catching

    def passed(self, trade: Trade) -> bool:
        """Take note of a fetched trade; False if it is none that was missing."""
        if self.last_id is not None and trade.trade_id <= self.last_id:
            return False
        self.last_id, self.last_us = trade.trade_id, trade.event_us
        self.fetched += 1
        return True

    def _is_repeat(self, trade: Trade) -> bool:
        return self.last_id is not None and trade.trade_id <= self.last_id and trade.event_us <= self.last_us

    def _hold(self, trade: Trade) -> bool:
        """False if the catch-up has just ended."""
        with self._lock:
            if self.catching:
                self._held.append(trade)
            return self.catching
