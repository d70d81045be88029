"""REST of a venue: what it still allows, when it says wait, and what its refusals mean."""

import threading
import time
from collections.abc import Mapping

import urllib3

from common.errors import FeedRejected, FeedUnavailable
from common.lifecycle import Stop
from producer.venues import binance

WEIGHT_LIMIT = 6000
WEIGHT_SHARE = 0.8  # the rest is left to others behind the same address
LONGEST_WAIT_S = 60.0  # until the minute ends: our own pace
BARRED_S = 2.0  # a longer wait that the venue asks for is the caller's decision: live trades may wait behind it
_WAIT_STATUSES = (418, 429)


class WeightBudget:
    """Request weight within a minute, as the venue counts it. Pure: the clock is the caller's, epoch seconds.

    >>> budget = WeightBudget(limit=100)
    >>> budget.wait_s(25, now_s=60.0), budget.note_used(90, now_s=61.0), budget.wait_s(25, now_s=61.0)
    (0.0, None, 59.0)
    """

    def __init__(self, limit: float = WEIGHT_LIMIT * WEIGHT_SHARE) -> None:
        self._limit, self._used, self._minute, self._closed_until_s = limit, 0, 0, 0.0

    def wait_s(self, weight: int, now_s: float, part: float = 1.0) -> float:
        """Seconds to wait before a request of that weight, if only a part of the limit may be used."""
        wait_s = self.barred_s(now_s)
        if int(now_s // 60) == self._minute and self._used + weight > self._limit * part:
            wait_s = max(wait_s, (self._minute + 1) * 60 - now_s)
        return wait_s

    def barred_s(self, now_s: float) -> float:
        """Seconds for which the venue has asked us to send nothing."""
        return max(0.0, self._closed_until_s - now_s)

    def note_used(self, used: int, now_s: float) -> None:
        """What the venue says was used in this minute."""
        self._minute, self._used = int(now_s // 60), used

    def close_for(self, seconds: float, now_s: float) -> None:
        """No request before that: the venue asked for it."""
        self._closed_until_s = max(self._closed_until_s, now_s + seconds)


class RestClient:
    """GETs within the venue's limits. Threads may share it: the venue counts by address."""

    def __init__(self, base_url: str, stop: Stop) -> None:
        self._base_url, self._stop, self._budget = base_url, stop, WeightBudget()
        timeout = urllib3.Timeout(connect=5.0, read=5.0)
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(retries=False, timeout=timeout, headers=dict(binance.REST_HEADERS))

    def get(self, path: str, weight: int, part: float = 1.0, longest_wait_s: float = LONGEST_WAIT_S) -> bytes:
        """The body of an answer of status 200, asked for while at most a part of the weight is used.

        Raises:
            FeedUnavailable: not now; FeedRejected: asking again will not help.
        """
        with self._lock:
            now_s = time.time()
            wait_s, barred_s = self._budget.wait_s(weight, now_s, part), self._budget.barred_s(now_s)
        if wait_s > longest_wait_s or barred_s > BARRED_S:
            raise FeedUnavailable(f"no REST request is allowed for {wait_s:.0f} s")
        if self._stop.wait(wait_s):
            raise FeedUnavailable("asked to stop")
        try:
            answer = self._pool.request("GET", self._base_url + path)
        except urllib3.exceptions.HTTPError as exc:
            raise FeedUnavailable(f"REST does not answer: {exc}") from exc
        self._note_limits(answer.status, answer.headers)
        if answer.status == 200:
            return answer.data
        raise refusal(answer.status, binance.parse_refusal(answer.data))

    def _note_limits(self, status: int, headers: Mapping[str, str]) -> None:
        used, wait = headers.get(binance.USED_WEIGHT_HEADER, ""), headers.get("Retry-After", "")
        with self._lock:
            if used.isdigit():
                self._budget.note_used(int(used), time.time())
            if status in _WAIT_STATUSES:
                self._budget.close_for(float(wait) if wait.isdigit() else 60.0, time.time())


def refusal(status: int, sentence: str) -> FeedUnavailable | FeedRejected:
    """The one place that decides what an HTTP status of a venue means, in REST and in the WebSocket handshake."""
    text = f"HTTP {status}: {sentence}"
    if 400 <= status < 500 and status not in (403, 408, *_WAIT_STATUSES):  # 403: a firewall, which passes
        return FeedRejected(text)
    return FeedUnavailable(text)
