"""One question to PostgreSQL for all who ask the same at once, and never an answer from before somebody asked."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from common.errors import StoreUnavailable
from web.lane import CAME_S


class Shared:
    """Asks one after the other. Who comes while one is under way shares the next, which begins after they came.

    A request that had come before the last one began (`web.lane.CAME_S`) shares that.
    """

    def __init__(self, ask: Callable[[], str], patience_s: float) -> None:
        self._ask, self._patience_s = ask, patience_s
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._next: Future[str] | None = None
        self._last = (-1.0, "")  # when the last question began that was answered, in monotonic seconds, and what it answers
        self.sharing = 0  # who wait for the next

    def __call__(self) -> str:
        """The answer; what asking raises is raised to all who share it.

        Raises:
            StoreUnavailable: no answer within the patience.
        """
        came_s = CAME_S.get()
        with self._lock:
            began_s, text = self._last
            if came_s is not None and began_s > came_s:
                return text
            self.sharing += 1
            shared, is_first = self._next or Future[str](), self._next is None
            self._next = shared
        if is_first:
            self._answer(shared)
        try:
            return shared.result(self._patience_s)
        except TimeoutError:
            raise self._unanswered() from None

    def _answer(self, shared: Future[str]) -> None:
        has_turn = self._turn.acquire(timeout=self._patience_s)
        with self._lock:  # who comes from here on shares the one after it
            self._next, self.sharing = None, 0
        try:
            if not has_turn:
                raise self._unanswered()
            began_s = time.monotonic()
            text = self._ask()
            self._last = began_s, text
            shared.set_result(text)
        except Exception as exc:
            shared.set_exception(exc)
        finally:
            if has_turn:
                self._turn.release()

    def _unanswered(self) -> StoreUnavailable:
        return StoreUnavailable(f"PostgreSQL has not answered within {self._patience_s:g} s; try again soon")
