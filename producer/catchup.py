"""Fetches by REST what the live feed did not bring: the history at the start, and what passed while it was away.

One thread, a page of each symbol in turn, in the order of the ids, ahead of the live trades that wait for them.
"""

import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence

from common.errors import FeedRejected, FeedUnavailable, MalformedMessage
from common.gaps import Gap
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.trades import Trade
from producer.debts import Debt, Debts
from producer.flow import Flow
from producer.missing import Known
from producer.past import PastTrades
from producer.publisher import Publisher
from producer.venues.binance import PAGE

EMPTY_PAGES = 4  # REST may be behind the stream for a moment; so many empty answers mean that the ids do not exist
EMPTY_WAIT_S = 0.3
PATIENCE_S = 20.0  # how long live trades wait for a REST that does not answer
DEBT_RETRY_S = 15.0
LEAST_HISTORY_S = 60
MOST_MISSED = 2_000_000  # more than that is left to a backfill
LOOK_S = 0.25
SETTLE_S = 0.05  # a trade that overtook another is no hole, and one page fills many holes

log = get_logger(__name__)


class CatchUp:
    """`request` a flow whose live trades wait; `run` is the thread's body."""

    def __init__(
        self, settings: Settings, flows: Sequence[Flow], past: PastTrades, publisher: Publisher,
        known: "queue.SimpleQueue[Known]", stop: Stop,
    ) -> None:  # fmt: skip
        self._flows = {(flow.symbol, flow.src): flow for flow in flows}
        self._history_s, self._publisher, self._stop = settings.history_s, publisher, stop
        self._past, self._known = past, known
        #: Not a SimpleQueue: on Python 3.11 its `get` waits for ever once the timeout is over between its two looks.
        self._asked: queue.Queue[Flow] = queue.Queue()
        self._turns: deque[_Turn] = deque()
        self._debts = Debts(settings.data_dir / "spool" / "owed.json")
        self._debts_at_s = 0.0
        self.samples = self._past.samples
        self.unfetched = 0

    def request(self, flow: Flow) -> None:
        """Fetch what is missing behind `flow.last_id` (or the history); the flow holds its live trades already."""
        self._asked.put(flow)

    @property
    def fetched(self) -> int:
        """Trades sent, the live ones that waited included."""
        return self._past.sent

    @property
    def owed(self) -> int:
        """Trades that live ones did not wait for and that are still to be fetched."""
        return self._debts.trades

    def is_busy(self, symbol: str) -> bool:
        """True while a symbol catches up, or some of it is owed: what is missing may be on its way."""
        return self._debts.has(symbol) or any(flow.catching for (name, _), flow in self._flows.items() if name == symbol)

    def run(self) -> None:
        """Serve requests until asked to stop."""
        while not self._stop.requested():
            self._accept()
            if self._turns:
                self._step(self._turns.popleft())
            elif self._debts and time.monotonic() >= self._debts_at_s:
                self._pay(self._debts.pop())
            elif self._publisher.idle:
                self._debts.settle()

    def _accept(self) -> None:
        try:
            while True:
                busy = self._turns or (self._debts and time.monotonic() >= self._debts_at_s)
                flow = self._asked.get(timeout=0.0001 if busy else LOOK_S)
                self._turns.append(_Turn(flow, time.monotonic()))
        except queue.Empty:
            pass

    def _step(self, turn: "_Turn") -> None:
        """One page for a flow; its turn comes again unless it has caught up."""
        try:
            if not turn.placed:
                self._place(turn)
            done = self._is_settled(turn) or self._fetch(turn)
        except FeedRejected as exc:
            log.error("%s: REST refuses (%s); going on without what is missing", turn.flow.symbol, exc)
            done = self._give_up(turn, owe=False, why=f"REST refuses: {exc}"[:200])
        except (FeedUnavailable, MalformedMessage) as exc:
            done = self._wait_or_give_up(turn, exc)
        if not done:
            self._turns.append(turn)

    def _place(self, turn: "_Turn") -> None:
        """Decide where a flow's first catch-up begins: behind its last id, or where its history does."""
        flow, turn.placed = turn.flow, True
        if flow.last_id is not None and not turn.first:
            return
        if self._history_s == 0 and flow.last_id is None:
            return
        try:
            first = self._past.first_since(flow.symbol, max(self._history_s, LEAST_HISTORY_S))
        except FeedUnavailable:
            turn.placed = False
            raise
        if first is not None:
            self._begin_at(flow, *first)

    def _begin_at(self, flow: Flow, first_id: int, first_us: int) -> None:
        if flow.last_id is None:
            flow.last_id = first_id - 1
        elif first_id - flow.last_id > MOST_MISSED:
            log.warning("%s: %d trades since the last run are left to a backfill", flow.symbol, first_id - flow.last_id - 1)
            self._leave(flow, flow.last_id + 1, first_id - 1, first_us, "open", "more than the catch-up fetches")
            flow.last_id = first_id - 1

    def _is_settled(self, turn: "_Turn") -> bool:
        """A live trade jumped: wait a moment for the ones it overtook; True if that was all."""
        if not turn.jumped:
            return False
        turn.jumped = False
        self._stop.wait(max(0.0, turn.since_s + SETTLE_S - time.monotonic()))
        turn.flow.sort_held()
        self._pass_held(turn.flow)
        missing = turn.flow.missing()
        if missing and missing[1] - missing[0] >= MOST_MISSED:
            return self._give_up(turn, owe=False, why="more than the catch-up fetches")
        return missing is None and self._release(turn.flow)

    def _fetch(self, turn: "_Turn") -> bool:
        """One page into the stream, then the live trades that follow; True once the flow is live."""
        flow = turn.flow
        if flow.last_id is None:  # no history wanted or none there
            return self._release(flow)
        page = self._past.page(flow.symbol, flow.last_id + 1)
        new = [trade for trade in page if flow.passed(trade)]
        self._send_all(flow, new)
        self._pass_held(flow)
        missing = flow.missing()
        if missing is None and (len(page) < PAGE or not new):
            return self._release(flow)
        if new:
            turn.empty_pages, turn.since_s = 0, time.monotonic()
        elif missing:
            return self._is_hole(turn, *missing)
        return False

    def _is_hole(self, turn: "_Turn", first_id: int, last_id: int) -> bool:
        """REST has nothing where ids are missing; after a few such answers the venue itself has a hole there."""
        turn.empty_pages += 1
        if turn.empty_pages < EMPTY_PAGES:
            self._stop.wait(EMPTY_WAIT_S)
            return False
        log.warning("%s: the venue has no trades %d..%d", turn.flow.symbol, first_id, last_id)
        self._leave(turn.flow, first_id, last_id, turn.flow.held_us(), "lost", "the venue does not have it")
        turn.flow.skip_to_held()
        return self._release(turn.flow)

    def _leave(self, flow: Flow, first_id: int, last_id: int, to_us: int, state: str, why: str) -> None:
        """Go on without these ids, and say so."""
        self.unfetched += last_id - first_id + 1
        ends = min(flow.last_us, to_us), max(flow.last_us, to_us)
        self._known.put(Known(Gap(flow.symbol, first_id, last_id, *ends), state, why))

    def _wait_or_give_up(self, turn: "_Turn", cause: Exception) -> bool:
        """REST does not answer: after `PATIENCE_S` live trades go ahead, and what is missing is owed."""
        if self._stop.requested():
            return False
        if time.monotonic() - turn.since_s > PATIENCE_S and turn.flow.holding:
            log.warning("%s: %s; live trades go ahead, what is missing is fetched later", turn.flow.symbol, cause)
            return self._give_up(turn, owe=True)
        delay_s = next(turn.delays_s)
        log.warning("%s: %s; next try in %.1f s", turn.flow.symbol, cause, delay_s)
        self._stop.wait(delay_s)
        return False

    def _give_up(self, turn: "_Turn", owe: bool, why: str = "") -> bool:
        missing = turn.flow.missing()
        if missing:
            if owe:
                self._debts.add(Debt(turn.flow.symbol, turn.flow.src, *missing))
                self._debts_at_s = time.monotonic() + DEBT_RETRY_S
            else:
                self._leave(turn.flow, *missing, turn.flow.held_us(), "open", why)
        turn.flow.skip_to_held()
        return self._release(turn.flow)

    def _release(self, flow: Flow) -> bool:
        """Pass on what is held and make the flow live; False if a hole in what was held keeps it waiting."""
        while True:
            self._pass_held(flow)
            if flow.end():
                return True
            if flow.missing():
                return False

    def _pass_held(self, flow: Flow) -> None:
        while run := flow.take_run():
            self._send_all(flow, run)

    def _send_all(self, flow: Flow, trades: Sequence[Trade]) -> None:
        for trade in trades:
            self._past.send(flow, trade)
        self._past.hand_on()

    def _pay(self, debt: Debt) -> None:
        """A page of what is owed; of a symbol that is not fed now it stays owed."""
        flow = self._flows.get((debt.symbol, debt.src))
        try:
            page = self._past.page(debt.symbol, debt.first_id) if flow else []
        except FeedRejected as exc:
            log.error("%s: REST refuses %d..%d (%s)", debt.symbol, debt.first_id, debt.last_id, exc)
            self.unfetched += debt.last_id - debt.first_id + 1  # the aggregator has seen the hole
            return
        except (FeedUnavailable, MalformedMessage):
            page, flow = [], None
        if flow is None:
            self._debts_at_s = time.monotonic() + DEBT_RETRY_S
            self._debts.put_back(debt)
            return
        self._send_all(flow, [trade for trade in page if trade.trade_id <= debt.last_id])
        if page and page[-1].trade_id < debt.last_id:
            self._debts.put_back(debt._replace(first_id=page[-1].trade_id + 1))


class _Turn:
    """How far a flow's catch-up is."""

    def __init__(self, flow: Flow, now_s: float) -> None:
        self.flow, self.since_s = flow, now_s
        self.first = flow.connected_before is False
        self.jumped = not self.first and flow.holding
        flow.connected_before = True
        self.placed = False
        self.empty_pages = 0
        self.delays_s: Iterator[float] = backoff_s(0.2, 5.0)
