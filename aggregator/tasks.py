"""`python -m aggregator.tasks`: rebuilds what is marked, tests pairs, and does the tasks that people ask for.

One loop, in the order of what hurts most: wrong bars first, then tests, then tasks. Any number may run; a task has one owner.
"""

import time

import psycopg2
import redis
from psycopg2.extensions import connection as Connection

from aggregator.barstore import BarLeaves, Settled
from aggregator.compute import Computer
from aggregator.marks import Rebuilder
from aggregator.pairtests import run_waiting_tests
from aggregator.revised import follow_up
from aggregator.scan import queue_due_scans
from common.database import connect_database, transaction, transient, wait_for_schema
from common.errors import StoreUnavailable
from common.health import Heartbeat
from common.lifecycle import Stop, backoff_s, run
from common.log import get_logger
from common.settings import Settings
from common.streams import TRANSIENT, connect_redis
from common.tasks import MAX_ATTEMPTS, Task, claim_task, fail_task, finish_task, forget_old_tasks

TURN_S = 0.1
TESTS_A_TURN = 20
KEEP_TASKS_DAYS = 7
FORGET_EVERY_S = 3600.0
#: How often it is looked whether a scan is due.
SCANS_EVERY_S = 1.0
OUTAGES = (*TRANSIENT, redis.ResponseError, psycopg2.Error)
_ONE_REBUILDER = 0x6765_6D73_0002

log = get_logger(__name__)


def work(settings: Settings, stop: Stop) -> None:
    """Work until asked to stop; an outage is retried with backoff."""
    connection = wait_for_schema(settings, stop, "gems tasks")
    delays = backoff_s()
    while connection and not stop.requested():
        try:
            if connection.closed:
                connection = connect_database(settings, "gems tasks")
            worker = TaskWorker(settings, connection)
            while not stop.requested():
                busy = worker.turn()
                delays = backoff_s()
                if not busy:
                    stop.wait(TURN_S)
        except OUTAGES as exc:
            delay_s = next(delays)
            first_line = (str(exc).strip().splitlines() or [""])[0]
            log.warning("%s: %s; what was begun is begun again in %.1f s", type(exc).__name__, first_line, delay_s)
            if transient(exc):
                connection.close()
            stop.wait(delay_s)


class TaskWorker:
    """One turn after the other."""

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._settings, self._connection = settings, connection
        self._client = connect_redis(settings)
        self._leaves = BarLeaves()
        self._computer = Computer(settings, self._client, connection, self._meanwhile)
        self._rebuilder = Rebuilder(settings, self._client, connection, self._leaves)
        self._heartbeat = Heartbeat(self._client, "tasks")
        self._next_forget_s = self._next_scan_s = 0.0
        self._facts = {"rebuilt": 0, "tests": 0, "tasks": 0}

    def turn(self) -> bool:
        """Do what is due; True if there may be more."""
        rebuilt = self._rebuild()
        tests = run_waiting_tests(self._settings, self._connection, TESTS_A_TURN)
        if time.monotonic() >= self._next_scan_s:
            self._next_scan_s = time.monotonic() + SCANS_EVERY_S
            queue_due_scans(self._settings, self._connection, time.time())
        task = claim_task(self._connection, self._computer.kinds)
        if task:
            self._do(task)
        if time.monotonic() >= self._next_forget_s:
            self._next_forget_s = time.monotonic() + FORGET_EVERY_S
            forget_old_tasks(self._connection, KEEP_TASKS_DAYS)
        self._facts["rebuilt"] += len(rebuilt)
        self._facts["tests"] += tests
        self._facts["tasks"] += task is not None
        if self._heartbeat.due():
            self._heartbeat.tell(self._facts)
        return bool(rebuilt or task or tests == TESTS_A_TURN)

    def _meanwhile(self) -> None:
        """What does not wait for the end of a long task."""
        self._facts["rebuilt"] += len(self._rebuild())
        self._facts["tests"] += run_waiting_tests(self._settings, self._connection, TESTS_A_TURN)
        if self._heartbeat.due():
            self._heartbeat.tell(self._facts)

    def _rebuild(self) -> list[Settled]:
        """Only one process rebuilds at a time; pairs and listeners follow."""
        with transaction(self._connection), self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (_ONE_REBUILDER,))
            row = cursor.fetchone()
        if not row or not row[0]:
            return []
        try:
            settled = self._rebuilder.turn()
            follow_up(self._settings, self._client, self._connection, self._leaves)
            return settled
        finally:
            with transaction(self._connection), self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (_ONE_REBUILDER,))

    def _do(self, task: Task) -> None:
        if task.attempts > MAX_ATTEMPTS:
            fail_task(self._connection, task.task_id, f"gave up after {MAX_ATTEMPTS} attempts; see the log of tasks")
            return
        try:
            finish_task(self._connection, task.task_id, self._computer.run(task))
        except (KeyError, ValueError, StoreUnavailable) as exc:
            log.exception("task %s of kind %s failed", task.task_id, task.kind)
            fail_task(self._connection, task.task_id, f"{type(exc).__name__}: {exc}")


if __name__ == "__main__":
    run("tasks", work)
