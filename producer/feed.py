"""A live connection: a thread that reads its symbols' trades and hands them on in micro-batches.

It reconnects with capped backoff, replaces a connection that fell silent, and moves to a new one ahead of the venue's
24 h limit or at its `serverShutdown`, reading both until the old one has nothing more: repeats are told by their ids. Of a
symbol that nothing comes of, REST is asked what was traded; a subscription that is silent though there was trade is left too.
"""

import time
from collections.abc import Callable, Sequence

from common.codec import encode_row
from common.errors import FeedError, FeedRejected, FeedUnavailable, InvalidTrade, MalformedMessage
from common.judge import Limits, judge
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.trades import Trade
from producer.batcher import Batch, Batcher
from producer.clock import StreamClock
from producer.fastfeed import FastFeed
from producer.flow import JUMP, PASS, REPEAT, Flow
from producer.publisher import Publisher
from producer.quiet import Quiet
from producer.rejects import Reject, Samples
from producer.venues.binance import Control, parse_message, stream_url
from producer.wire import Connect, Wire, connect_by

BURST = 256  # messages between two looks at the clock
LOOK_S = 0.25
BACKOFF_CAP_S = 30.0
HEALTHY_S = 4.0  # a connection that lived so long starts the backoff anew: at most 75 in 5 minutes, of 300 that are allowed
ROTATE_RETRY_S = 5.0
DRAIN_S = 0.5

log = get_logger(__name__)


class Feed:
    """One connection and the flows of its symbols; `run` is the thread's body."""

    def __init__(
        self, settings: Settings, flows: Sequence[Flow], publisher: Publisher, catch_up: Callable[[Flow], None],
        clock: StreamClock, stop: Stop, connect: Connect | None = None,
    ) -> None:  # fmt: skip
        """`connect` opens its connections; None: as the settings say."""
        self._settings, self._publisher, self._catch_up, self._stop = settings, publisher, catch_up, stop
        self._flows = {flow.symbol: flow for flow in flows}
        self._open = connect or connect_by(settings)
        self._url = stream_url(settings.ws_url, list(self._flows), settings.feed_kind)
        self._limits = Limits.of(settings)
        self._batcher = Batcher(settings.batch_rows, settings.linger_ms / 1000)
        self._clock, self._quiet = clock, Quiet(flows, settings.stale_after_s)
        self._rotate_after_s, self._rotate_at_s = settings.rotate_after_h * 3600, 0.0
        self._kind = settings.feed_kind
        self._fast = FastFeed(flows, self._kind, self._limits, self._on_rows, self._on_message)
        self.samples = Samples()
        self.messages = self.trades = self.repeats = self.connects = self.silent = 0
        self.connected = False
        self._look_at_s = 0.0

    def run(self) -> None:
        """Read until asked to stop; what is held then is handed on."""
        delays_s = backoff_s(0.1, BACKOFF_CAP_S)
        while not self._stop.requested():
            began_s = time.monotonic()
            try:
                self._wait_for_room()
                self._session()
            except FeedError as exc:
                if time.monotonic() - began_s > HEALTHY_S:
                    delays_s = backoff_s(0.1, BACKOFF_CAP_S)
                self._rest(exc, BACKOFF_CAP_S if isinstance(exc, FeedRejected) else next(delays_s))

    def _rest(self, cause: FeedError, delay_s: float) -> None:
        if not self._stop.requested():
            level = log.error if isinstance(cause, FeedRejected) else log.warning
            level("%s: %s; connecting again in %.1f s", ", ".join(self._flows), cause, delay_s)
            self._stop.wait(delay_s)

    def _wait_for_room(self) -> None:
        if self._publisher.feeds_closed:
            log.warning("the spool is full; the feed stays closed until Redis takes trades, then REST fetches what is missing")
        while self._publisher.feeds_closed and not self._stop.wait(LOOK_S):
            pass

    def _session(self) -> None:
        """One connection (and those that replace it with overlap) until it breaks."""
        wire = self._connect()
        try:
            while not self._stop.requested():
                wire = self._rotated(wire)
                self._read(wire, time.monotonic() + self._settings.stale_after_s)
        finally:
            self.connected = False
            wire.close()
            self._hand_on(self._batcher.drain())

    def _connect(self) -> Wire:
        wire = self._open(self._url)
        self.connects += 1
        self.connected = True
        self._rotate_at_s = time.monotonic() + self._rotate_after_s
        self._quiet.connected(time.monotonic(), again=self.connects > 1)
        log.info("connected to %s", self._url)
        return wire

    def _rotated(self, old: Wire) -> Wire:
        """The connection to go on with: a new one if it is time, once all of the old one is read."""
        if time.monotonic() < self._rotate_at_s:
            return old
        try:
            new = self._connect()
        except FeedError as exc:
            log.warning("no new connection yet (%s); the old one goes on; next try in %.1f s", exc, ROTATE_RETRY_S)
            self._rotate_at_s = time.monotonic() + ROTATE_RETRY_S
            return old
        until_s = time.monotonic() + DRAIN_S
        try:
            while time.monotonic() < until_s and old.ready(LOOK_S):
                self._burst(old)
        except FeedUnavailable:
            pass  # its end was what we waited for
        old.close()
        return new

    def _read(self, wire: Wire, stale_at_s: float) -> None:
        """Read until it is time for a new connection.

        Raises:
            FeedUnavailable: broken or silent, or the spool is full.
        """
        while not self._stop.requested():
            now_s = time.monotonic()
            due_in_s = self._batcher.due_in_s(now_s)
            if wire.ready(LOOK_S if due_in_s is None else min(due_in_s, LOOK_S)) and self._burst(wire):
                stale_at_s = now_s + self._settings.stale_after_s
            now_s = time.monotonic()
            self._hand_on(self._batcher.due(now_s))
            self._look_at_quiet(now_s)
            if now_s >= stale_at_s:
                raise FeedUnavailable(f"no message for {self._settings.stale_after_s:g} s")
            if self._publisher.feeds_closed:
                raise FeedUnavailable("the spool is full")
            if now_s >= self._rotate_at_s:
                return

    def _look_at_quiet(self, now_s: float) -> None:
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        look = self._quiet.look(now_s)
        for flow in look.ask:
            self._hand_on(self._batcher.drain())
            flow.begin()
            self._catch_up(flow)
        if look.silent:
            self.silent += len(look.silent)
            names = ", ".join(flow.symbol for flow in look.silent)
            log.warning("%s: REST has trades that the connection did not bring; moving to a new connection", names)
            self._rotate_at_s = 0.0

    def _burst(self, wire: Wire) -> int:
        """Read the messages that have arrived, at most `BURST`; answers how many there were."""
        texts = wire.recv(BURST)
        self.messages += len(texts)
        self._fast.read(texts, time.monotonic(), self._clock.now_ms())
        return len(texts)

    def _on_rows(self, stream: str, src: str, rows: list[str], now_s: float) -> None:
        self.trades += len(rows)
        self._hand_on(self._batcher.extend(stream, src, rows, now_s))

    def _on_message(self, text: bytes, now_s: float, entry_ms: int) -> None:
        try:
            trade = parse_message(text, self._kind)
        except MalformedMessage as exc:
            self.samples.note(exc)
            return
        if type(trade) is Trade and (flow := self._flows.get(trade.symbol)):
            self._on_trade(flow, trade, now_s, entry_ms)
        elif isinstance(trade, Control):
            self._on_control(trade)
        else:
            self.samples.note(MalformedMessage(f"a trade of a symbol we did not ask for: {trade}"))

    def _on_trade(self, flow: Flow, trade: Trade, now_s: float, entry_ms: int) -> None:
        flow.heard_s = now_s
        verdict = flow.offer(trade)
        if verdict is PASS:
            self._pass(flow, trade, now_s, entry_ms)
        elif verdict is JUMP:
            self._hand_on(self._batcher.drain())  # the stream's order: what we hold is older than what is missing
            self._catch_up(flow)
        elif verdict is REPEAT:
            self.repeats += 1

    def _pass(self, flow: Flow, trade: Trade, now_s: float, entry_ms: int) -> None:
        try:
            row = encode_row(judge(trade, self._limits, entry_ms))
        except InvalidTrade as exc:
            self.samples.note(exc, feed_reject(flow, trade, exc))
            return
        self.trades += 1
        full = self._batcher.add(flow.stream, flow.src, row, now_s)
        if full:
            self._publisher.put(full)

    def _on_control(self, control: Control) -> None:
        if control.name == "shutdown":
            log.info("the venue announces its shutdown; moving to a new connection")
            self._rotate_at_s = 0.0
        elif control.name == "refused":
            log.error("the venue refuses: %s", control.text)
        elif control.name == "unknown":
            self.samples.note(MalformedMessage(f"unknown: {control.text}"))

    def _hand_on(self, batches: list[Batch]) -> None:
        for batch in batches:
            self._publisher.put(batch)


def feed_reject(flow: Flow, trade: Trade, error: InvalidTrade) -> Reject:
    """The dead letter of a live trade: known by its symbol and id, so that a repeat of it is the same letter."""
    return Reject.of(("feed", f"{flow.symbol}:{trade.trade_id}", 0), flow.src, error, repr(tuple(trade)))
