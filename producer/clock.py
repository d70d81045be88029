"""The stream's clock on this host: entry ids come from Redis, and so does the time that trades are judged by."""

import time

import redis


class StreamClock:
    """This host's clock, put right by Redis TIME; a host whose clock is wrong refuses no good trade."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    @property
    def ahead_ms(self) -> int:
        """Milliseconds that Redis is ahead of this host."""
        return self._ahead_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970 that an entry made now would carry, about."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def measure(self, client: redis.Redis) -> None:
        """Compare with Redis; once at the start and now and then, for a failover changes the host.

        Raises:
            redis.RedisError, OSError: what was measured before stays.
        """
        asked_us = time.time_ns() // 1000
        seconds, micros = client.time()
        here_us = (asked_us + time.time_ns() // 1000) // 2
        self._ahead_ms = (seconds * 1_000_000 + micros - here_us) // 1000
