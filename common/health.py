"""What each process tells about itself: a hash `health:<process>` that vanishes 30 s after its last word."""

import time
from collections.abc import Mapping

import redis

KEEP_S = 30
EVERY_S = 2.0


class Heartbeat:
    """Tells Redis at most every two seconds; a Redis that is away is the business of the process's own loop."""

    def __init__(self, client: redis.Redis, process: str) -> None:
        self._client, self._key, self._next_s = client, f"health:{process}", 0.0

    def due(self) -> bool:
        """True when it is time to tell again: gather the facts only then."""
        return time.monotonic() >= self._next_s

    def tell(self, facts: Mapping[str, int | float | str]) -> None:
        """Replace the facts of this process; `at` is the time of telling, epoch seconds."""
        self._next_s = time.monotonic() + EVERY_S
        pipe = self._client.pipeline(transaction=False)
        pipe.hset(self._key, items=[part for fact in {**facts, "at": round(time.time(), 3)}.items() for part in fact])
        pipe.expire(self._key, KEEP_S)
        pipe.execute()
