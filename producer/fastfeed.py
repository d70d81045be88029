"""Usual messages straight into rows: a known symbol's next trade, whole and good, in one loop with nothing called for it.

Whatever is not just that goes the long way, message by message and in its turn: through `parse_message`, `Flow.offer`, `judge`
and `encode_row`, which give the same row for what is usual (a property test says so) and a verdict for what is not.
"""

from collections.abc import Callable, Iterable, Sequence

from common.codec import iso_us
from common.judge import AHEAD_US, Limits, short_decimal
from producer.flow import Flow
from producer.venues.fastlive import UsualMessages

SECONDS_KEPT = 4096
#: Takes rows of a stream and a source, and when they came, monotonic.
TakeRows = Callable[[str, str, list[str], float], None]
#: Takes a message, when it came, and the time (ms) of the entry it is judged for.
TakeMessage = Callable[[bytes, float, int], None]


class FastFeed:
    """The short way of one connection's messages."""

    def __init__(self, flows: Iterable[Flow], kind: str, limits: Limits, rows: TakeRows, other: TakeMessage) -> None:
        """`other` gets each message that is not usual, once `rows` has all rows that came before it."""
        self._held: dict[tuple[str, str], list[str]] = {}
        self._known = {flow.symbol: (flow, self._held.setdefault((flow.stream, flow.src), []).append) for flow in flows}
        self._usual, self._limits = UsualMessages(kind), limits
        self._rows, self._other = rows, other
        self._seconds: dict[str, str] = {}

    def read(self, texts: Sequence[bytes], now_s: float, entry_ms: int) -> None:
        """Messages in the order they came, judged as of an entry of that time."""
        found = self._usual.find(texts)
        if found is None:
            for text in texts:
                self._other(text, now_s, entry_ms)
            return
        known, seconds, plain = self._known, self._seconds, short_decimal
        oldest_us, newest_us = self._limits.oldest_us(entry_ms), entry_ms * 1000 + AHEAD_US
        for text, (symbol, digits, price, size, stamp, second, micros, sold) in zip(texts, found, strict=True):
            if symbol in known:
                flow, hold = known[symbol]
                if (
                    not flow.catching
                    and flow.last_id == (trade_id := int(digits)) - 1
                    and oldest_us <= (event_us := int(stamp)) <= newest_us
                    and (price := plain(price))
                    and (size := plain(size))
                ):
                    flow.heard_s, flow.last_id, flow.last_us = now_s, trade_id, event_us
                    clock = seconds.get(second) or self._clock(second)
                    hold(f"{symbol},{digits},{clock}{micros}Z,{price},{size},{'s' if sold else 'b'},\n")
                    continue
            self._hand_on(now_s)
            self._other(text, now_s, entry_ms)
        self._hand_on(now_s)

    def _clock(self, second: str) -> str:
        """`2026-11-23T07:00:00.` of seconds since 1970."""
        if len(self._seconds) > SECONDS_KEPT:
            self._seconds.clear()
        text = self._seconds[second] = iso_us(int(second) * 1_000_000)[:-7]
        return text

    def _hand_on(self, now_s: float) -> None:
        for (stream, src), held in self._held.items():
            if held:
                self._rows(stream, src, held, now_s)
                held.clear()
