"""Past trades of a venue, by REST, into the stream."""

from common.codec import encode_row
from common.errors import InvalidTrade
from common.judge import Limits, judge
from common.settings import Settings
from common.trades import Trade
from producer.batcher import Batcher
from producer.clock import StreamClock
from producer.feed import feed_reject
from producer.flow import Flow
from producer.publisher import Publisher
from producer.rejects import Samples
from producer.rest import LONGEST_WAIT_S, RestClient
from producer.venues import binance

PATIENCE_S = 2.0  # for weight, where live trades do not wait for the answer


class PastTrades:
    """Pages of them, and the way on; one thread uses it. `part`: of the request weight, that it may use."""

    def __init__(self, settings: Settings, publisher: Publisher, rest: RestClient, clock: StreamClock, part: float = 1.0) -> None:
        self._kind, self._limits, self._publisher = settings.feed_kind, Limits.of(settings), publisher
        self._rest, self._clock, self._part = rest, clock, part
        self._longest_wait_s = LONGEST_WAIT_S if part == 1.0 else PATIENCE_S
        self._batcher = Batcher(settings.batch_rows, 0.0)
        self.samples = Samples()
        self.sent = 0

    def page(self, symbol: str, from_id: int) -> list[Trade]:
        """At most `binance.PAGE` trades from an id on, oldest first.

        Raises:
            FeedUnavailable, FeedRejected, MalformedMessage
        """
        path = binance.page_path(symbol, self._kind, from_id)
        body = self._rest.get(path, binance.WEIGHT[self._kind], self._part, self._longest_wait_s)
        return binance.parse_page(body, symbol, self._kind)

    def first_since(self, symbol: str, seconds: float) -> tuple[int, int] | None:
        """Id and stamp (us) of the first trade of the last so many seconds; None if there was none."""
        path = binance.first_since_path(symbol, self._clock.now_ms() - int(seconds * 1000))
        return binance.parse_first(self._rest.get(path, binance.WEIGHT["aggTrade"]), self._kind)

    def send(self, flow: Flow, trade: Trade) -> bool:
        """Into a batch; False if the judge does not let it pass: it is a dead letter then."""
        try:
            row = encode_row(judge(trade, self._limits, self._clock.now_ms()))
        except InvalidTrade as exc:
            self.samples.note(exc, feed_reject(flow, trade, exc))
            return False
        self.sent += 1
        full = self._batcher.add(flow.stream, flow.src, row, 0.0)
        if full:
            self._publisher.put(full)
        return True

    def hand_on(self) -> None:
        """To the publisher what is in a batch."""
        for batch in self._batcher.drain():
            self._publisher.put(batch)
