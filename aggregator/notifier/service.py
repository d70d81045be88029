"""The loop: one session for all SQL, a thread for each turn; asleep until the outbox, a thread or the clock says something."""

import os
import random
import select
import time
from collections import deque
from contextlib import suppress

import psycopg2
from psycopg2.extensions import connection as Connection

from aggregator.notifier import store
from aggregator.notifier.schedule import Limits, choose, next_step, sleep_s
from aggregator.notifier.turns import Report, Turn
from aggregator.notifier.webhook import Poster
from common.database import connect_database, wait_for_schema
from common.health import Heartbeat
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.outbox import CHANNEL
from common.settings import Settings
from common.streams import TRANSIENT, connect_redis

#: Longest sleep: a stop, a late attempt and a lost notification are seen after it.
LONGEST_SLEEP_S = 0.5
#: The supervisor kills what takes longer to stop; what was on its way then is delivered again.
LONGEST_STOP_S = 15.0
FORGET_EVERY_S = 3600.0
REDIS_TIMEOUT_S = 1.0

log = get_logger(__name__)


def work(settings: Settings, stop: Stop) -> None:
    """Deliver until asked to stop; what is on its way then is waited for. An outage is retried with backoff."""
    notifier, delays = Notifier(settings), backoff_s()
    connection = wait_for_schema(settings, stop, "gems notifier")
    while connection and not stop.requested():
        try:
            if connection.closed:
                connection = connect_database(settings, "gems notifier")
            notifier.listen(connection)
            while not stop.requested():
                notifier.step()
                delays = backoff_s()
        except psycopg2.Error as exc:
            delay_s = next(delays)
            first_line = (str(exc).strip().splitlines() or [""])[0]
            log.warning("%s: %s; the outbox is read again in %.1f s", type(exc).__name__, first_line, delay_s)
            connection.close()
            stop.wait(delay_s)
    if connection and not connection.closed:
        notifier.finish()


class Notifier:
    """One step after the other; what turns report while PostgreSQL is away is recorded when it is back."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = Limits(settings.notify_attempts, settings.notify_give_up_s)
        self._poster = Poster(settings.notify_private, settings.notify_timeout_s)
        self._turns: dict[int, Turn] = {}
        self._reports: deque[Report] = deque()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        client = connect_redis(settings, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
        self._heartbeat = Heartbeat(client, "notifier")
        self._next_forget_s = 0.0
        self._facts = {"delivered": 0, "failed": 0, "given_up": 0}

    def listen(self, connection: Connection) -> None:
        """Use this session from now on."""
        self._connection = connection
        connection.autocommit = True
        with connection.cursor() as cursor:
            # A record that a crash of PostgreSQL takes back is a delivery made again: no reason to wait for its disk.
            cursor.execute(f"SET synchronous_commit = off; LISTEN {CHANNEL}")

    def step(self) -> None:
        """Record, serve, tell, sleep."""
        self._connection.notifies.clear()  # what they tell of is seen below; one that comes later forbids the sleep
        self._record()
        found = store.heads(self._connection)
        busy_kinds = [turn.receiver.kind for turn in self._turns.values()]
        for head in choose(found, self._turns, busy_kinds, self._settings.notify_at_once):
            self._serve(head.receiver_id)
        self._beat()
        self._sleep(sleep_s(found, self._turns, LONGEST_SLEEP_S))

    def finish(self) -> None:
        """Wait for what is on its way, and record it."""
        end_s = time.monotonic() + min(self._settings.notify_timeout_s, LONGEST_STOP_S) + 1.0
        for turn in self._turns.values():
            turn.stop()
        with suppress(psycopg2.Error):  # what can not be recorded is delivered again
            while self._turns and time.monotonic() < end_s:
                self._sleep(LONGEST_SLEEP_S)
                self._record()

    def _serve(self, receiver_id: int) -> None:
        claimed = store.claim(self._connection, receiver_id)
        if claimed:
            receiver, due = claimed
            allow_private, timeout_s = self._settings.notify_private, self._settings.notify_timeout_s
            self._turns[receiver_id] = Turn(receiver, due, self._poster, allow_private, timeout_s, self._hear)

    def _hear(self, report: Report) -> None:
        """Called by the threads of turns."""
        self._reports.append(report)
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_in, b"!")

    def _record(self) -> None:
        while self._reports:
            report = self._reports[0]
            if report.delivery and report.answer:
                self._record_one(report)
                self._turns[report.receiver_id].go_on()
            else:
                store.release(self._connection, report.receiver_id)
                del self._turns[report.receiver_id]
            self._reports.popleft()

    def _record_one(self, report: Report) -> None:
        delivery, answer = report.delivery, report.answer
        assert delivery and answer
        attempts = delivery.attempts + 1
        step = next_step(answer, attempts, delivery.age_s, self._limits, random.random())
        store.record(self._connection, delivery.delivery_id, step)
        self._facts["delivered"] += step.state == "delivered"
        self._facts["failed"] += step.state == "waiting"
        self._facts["given_up"] += step.state == "dead"
        if step.state != "delivered":
            waits = f"next try in {step.wait_s:.1f} s" if step.state == "waiting" else "dead until somebody asks for a retry"
            where = f"delivery {delivery.delivery_id} of event {delivery.event_key} to receiver {report.receiver_id}"
            log.warning("%s, attempt %d: %s; %s", where, attempts, step.reason, waits)

    def _beat(self) -> None:
        if not self._heartbeat.due():
            return
        store.end_unwanted(self._connection)
        if time.monotonic() >= self._next_forget_s:
            self._next_forget_s = time.monotonic() + FORGET_EVERY_S
            store.forget_old(self._connection)
        counts = store.outbox_counts(self._connection)
        with suppress(*TRANSIENT):  # deliveries do not wait for Redis
            self._heartbeat.tell({**self._facts, **counts._asdict(), "in_flight": len(self._turns)})

    def _sleep(self, seconds: float) -> None:
        """Until the outbox gets something, a turn reports, or the time is over."""
        for turn in self._turns.values():
            turn.cut_if_late()
        if self._reports or self._connection.notifies:
            return
        select.select([self._connection.fileno(), self._wake_out], [], [], seconds)
        self._connection.poll()
        with suppress(BlockingIOError):
            os.read(self._wake_out, 4096)
