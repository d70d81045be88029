"""Past trades of a venue, by REST, into the stream."""

import time

from common.codec import encode_row
from common.errors import InvalidTrade
from common.judge import Limits, judge
from common.lifecycle import Stop
from common.settings import Settings
from common.trades import Trade
from producer.batcher import Batcher
from producer.feed import feed_reject
from producer.flow import Flow
from producer.publisher import Publisher
from producer.rejects import Samples
from producer.rest import RestClient
from producer.venues import binance


class PastTrades:
    """Pages of them, and the way on; one thread uses it."""

    def __init__(self, settings: Settings, publisher: Publisher, stop: Stop) -> None:
        self._kind, self._limits, self._publisher = settings.feed_kind, Limits.of(settings), publisher
        self._rest = RestClient(settings.rest_url, stop)
        self._batcher = Batcher(settings.batch_rows, 0.0)
        self.samples = Samples()
        self.sent = 0

    def page(self, symbol: str, from_id: int) -> list[Trade]:
        """At most `binance.PAGE` trades from an id on, oldest first.

        Raises:
            FeedUnavailable, FeedRejected, MalformedMessage
        """
        path = binance.page_path(symbol, self._kind, from_id)
        return binance.parse_page(self._rest.get(path, binance.WEIGHT[self._kind]), symbol, self._kind)

    def first_id_since(self, symbol: str, seconds: float) -> int | None:
        """Id of the first trade of the last so many seconds; None if there was none."""
        path = binance.first_since_path(symbol, int((time.time() - seconds) * 1000))
        return binance.parse_first_id(self._rest.get(path, binance.WEIGHT["aggTrade"]), self._kind)

    def send(self, flow: Flow, trade: Trade) -> None:
        """Into a batch, if the judge lets it pass."""
        try:
            row = encode_row(judge(trade, self._limits, int(time.time() * 1000)))
        except InvalidTrade as exc:
            self.samples.note(exc, feed_reject(flow, trade, exc))
            return
        self.sent += 1
        full = self._batcher.add(flow.stream, flow.src, row, 0.0)
        if full:
            self._publisher.put(full)

    def hand_on(self) -> None:
        """To the publisher what is in a batch."""
        for batch in self._batcher.drain():
            self._publisher.put(batch)
