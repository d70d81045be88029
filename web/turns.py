"""So many at once, in the order in which they came."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """`with turns.one():` waits until fewer than `count` are inside, first come first served, `patience_s` at most.

    A lock of `threading` goes to whoever asks at the right moment: a thread that has just released it mostly has it again before
    the one that waits for it has woken up, and some wait for several rounds.
    """

    def __init__(self, count: int, patience_s: float) -> None:
        self._free, self._patience_s = count, patience_s
        self._lock, self._waiting = threading.Lock(), deque[threading.Lock]()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextmanager
    def one(self) -> Iterator[bool]:
        """A turn; False for one who has waited too long, and goes on without."""
        has_turn = self._acquire()
        try:
            yield has_turn
        finally:
            if has_turn:
                self._release()

    def _acquire(self) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=self._patience_s):
            return True
        with self._lock:
            if mine not in self._waiting:
                return True  # it came as patience ended
            self._waiting.remove(mine)
            return False

    def _release(self) -> None:
        """To the one who waits for the longest, or back."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
