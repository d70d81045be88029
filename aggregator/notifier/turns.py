"""A receiver's turn: its due deliveries, one after the other, in a thread that touches nothing but the network."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from aggregator.notifier.schedule import Answer
from aggregator.notifier.signing import signed_headers
from aggregator.notifier.store import Delivery, Receiver
from aggregator.notifier.webhook import Poster, Wire
from common.apprise_child import Child
from common.log import get_logger
from common.messages import headline, plain_text, render
from common.receivers import webhook_target

#: A turn begins no further delivery after so long: others may wait for its place.
TURN_S = 5.0
#: The start of a child of apprise, beside what a delivery may take.
CHILD_START_S = 10.0

log = get_logger(__name__)


class Report(NamedTuple):
    """What a turn tells the loop; without a delivery: it is over."""

    receiver_id: int
    delivery: Delivery | None = None
    answer: Answer | None = None


class Turn:
    """Started at once; `cut_if_late` ends what hangs."""

    def __init__(
        self, receiver: Receiver, due: Sequence[Delivery], poster: Poster, allow_private: bool, timeout_s: float,
        report: Callable[[Report], None],
    ) -> None:  # fmt: skip
        self.receiver, self._due, self._poster, self._report = receiver, due, poster, report
        self._allow_private, self._timeout_s = allow_private, timeout_s
        self._wire, self._end_s = Wire(), float("inf")
        self._stopped, self._recorded = False, threading.Event()
        # Daemons: what a name server or a library holds on to must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, name=f"receiver {receiver.receiver_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further delivery."""
        self._stopped = True

    def go_on(self) -> None:
        """What it last reported is recorded. It waits for this: a kill then repeats at most one delivery of a receiver."""
        self._recorded.set()

    def cut_if_late(self) -> None:
        """End the connection of an attempt that is over its time, however busy it looks."""
        if time.monotonic() > self._end_s:
            self._wire.cut()

    def _run(self) -> None:
        until_s = time.monotonic() + TURN_S
        try:
            with ExitStack() as stack:
                for delivery in self._due:
                    answer = self._attempt(delivery, stack)
                    self._recorded.clear()
                    self._report(Report(self.receiver.receiver_id, delivery, answer))
                    self._recorded.wait()
                    if answer.outcome == "failed" or self._stopped or time.monotonic() > until_s:
                        break
        finally:
            self._report(Report(self.receiver.receiver_id))

    def _attempt(self, delivery: Delivery, stack: ExitStack) -> Answer:
        """One attempt; a fault of ours is a failed attempt too, so that it is told, bounded and stops nobody else."""
        try:
            return self._call(delivery) if self.receiver.kind == "webhook" else self._ask(delivery, stack)
        except Exception as exc:
            log.exception("delivery %d to receiver %d could not be tried", delivery.delivery_id, self.receiver.receiver_id)
            return Answer("failed", f"{type(exc).__name__} in the notifier; its log says more")

    def _call(self, delivery: Delivery) -> Answer:
        message, wire = render(self.receiver.template, delivery.body), Wire()
        body = message.text.encode()
        headers = {"Content-Type": message.content_type, "User-Agent": "gems-notifier", "Accept-Encoding": "identity"}
        headers |= signed_headers(self.receiver.secret, delivery.event_key, body, int(time.time()))
        self._wire, self._end_s = wire, time.monotonic() + self._timeout_s
        try:
            return self._poster.post(webhook_target(self.receiver.url), headers, body, wire)
        finally:
            self._end_s = float("inf")

    def _ask(self, delivery: Delivery, stack: ExitStack) -> Answer:
        text = render(self.receiver.template, delivery.body).text if self.receiver.template else plain_text(delivery.body)
        question = {"do": "send", "url": self.receiver.url, "title": headline(delivery.body), "text": text}
        try:
            if not hasattr(self, "_child"):
                self._child = stack.enter_context(Child(self._allow_private))
                answer = self._child.ask(question, self._timeout_s + CHILD_START_S)
            else:
                answer = self._child.ask(question, self._timeout_s)
        except TimeoutError as exc:
            return Answer("failed", str(exc))
        if answer["ok"]:
            return Answer("delivered")
        return Answer("refused" if answer.get("refused") else "failed", answer["error"])
