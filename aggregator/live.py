"""Open bars for live listeners: each symbol's at most `live_per_s` times a second, all together within a budget."""

import time

import redis

from aggregator.core import Core
from aggregator.events import open_events
from common.events import publish
from common.settings import Settings

#: Updates a second over all symbols and timeframes; past it each symbol is told less often.
BUDGET_PER_S = 2_000


class LiveBars:
    """Remembers who changed, and tells when the time has come."""

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._client, self._per_s, self._timeframes = client, settings.live_per_s, len(settings.timeframes)
        self._changed: set[int] = set()
        self._next_s = 0.0

    def tell(self, core: Core, changed: set[int]) -> None:
        """Note the symbols that changed; publish their open bars if it is time."""
        self._changed |= changed
        now_s = time.monotonic()
        if self._changed and now_s >= self._next_s:
            publish(self._client, open_events(core, self._changed))
            self._next_s = now_s + max(1 / self._per_s, len(self._changed) * self._timeframes / BUDGET_PER_S)
            self._changed = set()
