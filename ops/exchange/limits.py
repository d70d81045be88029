"""What a client may not exceed. Pure: the time is an argument; weights count by the minute of the wall clock, as Binance's."""

from collections import deque

INCOMING_A_SECOND = 5
STREAMS_A_CONNECTION = 1024
WEIGHT_A_MINUTE = 6000
IGNORED_BEFORE_BAN = 10
FIRST_BAN_S = 120.0
LONGEST_BAN_S = 3 * 86400.0


class IncomingLimit:
    """Counts a connection's messages: at most five within any second."""

    def __init__(self) -> None:
        self._seen_s: deque[float] = deque(maxlen=INCOMING_A_SECOND)

    def exceeded(self, now_s: float) -> bool:
        """Count one message; True if it is one too many."""
        over = len(self._seen_s) == INCOMING_A_SECOND and now_s - self._seen_s[0] < 1.0
        self._seen_s.append(now_s)
        return over


class WeightLimit:
    """REQUEST_WEIGHT of one address: 6000 a minute, then 429 until the minute ends, then, if ignored, a 418 ban that grows."""

    def __init__(self) -> None:
        self.used = 0
        self._minute = -1
        self._ignored = 0
        self._bans = 0
        self._banned_until_s = 0.0

    def charge(self, weight: int, now_s: float) -> tuple[int, int]:
        """Count a request; (HTTP status, seconds to wait): (200, 0), (429, s) or (418, s)."""
        if now_s < self._banned_until_s:
            return 418, int(self._banned_until_s - now_s) + 1
        minute = int(now_s // 60)
        if minute != self._minute:
            self._minute, self.used, self._ignored = minute, 0, 0
        self.used += weight
        if self.used <= WEIGHT_A_MINUTE:
            return 200, 0
        self._ignored += 1
        if self._ignored <= IGNORED_BEFORE_BAN:
            return 429, int(60 - now_s % 60) + 1
        ban_s = min(LONGEST_BAN_S, FIRST_BAN_S * 2**self._bans)
        self._bans, self._banned_until_s, self._ignored = self._bans + 1, now_s + ban_s, 0
        return 418, int(ban_s)
