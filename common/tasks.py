"""Tasks: work that an API call or a person asked for, a row each, claimed by one process, resumed after a crash.

Kinds: `ingest` (done when made), `import` (producer), `bars`, `spread`, `stats`, `scan` (aggregator).
States: queued -> running -> done | failed. A running task unseen for 30 s is claimed again.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from common.database import transaction

MAX_ATTEMPTS = 5
_CLAIM = """
UPDATE tasks SET state = 'running', attempts = attempts + 1, seen_at = now(), started_at = coalesce(started_at, now())
WHERE task_id = (
    SELECT task_id FROM tasks
    WHERE kind = ANY(%s) AND (state = 'queued' OR state = 'running' AND seen_at < now() - interval '30 seconds')
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING task_id, kind, params, attempts, counts
"""


class Task(NamedTuple):
    """A claimed task; `counts` holds what an earlier attempt had done."""

    task_id: str
    kind: str
    params: dict[str, Any]
    attempts: int
    counts: dict[str, Any]


def create_task(
    connection: Connection, kind: str, params: Mapping[str, Any], counts: Mapping[str, Any] | None = None,
    done: bool = False, idempotency_key: str | None = None, task_id: str | None = None,
) -> str:  # fmt: skip
    """Make a task, of that id if one is given, and answer its id; with a key that was used before, the earlier task's id."""
    task_id = task_id or str(uuid.uuid4())
    state = "done" if done else "queued"
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tasks (task_id, kind, params, state, progress, counts, idempotency_key, finished_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END) ON CONFLICT (idempotency_key) DO NOTHING",
            (task_id, kind, Json(dict(params)), state, float(done), Json(dict(counts or {})), idempotency_key, done),
        )
        if cursor.rowcount == 0:
            cursor.execute("SELECT task_id FROM tasks WHERE idempotency_key = %s", (idempotency_key,))
            task_id = str(cursor.fetchone()[0])  # type: ignore[index]
    return task_id


def queue_again(connection: Connection, task_id: str, kind: str, params: Mapping[str, Any]) -> None:
    """Let a task be done again under the id that its client knows, or for the first time where its row is gone."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tasks (task_id, kind, params, state) VALUES (%s, %s, %s, 'queued') ON CONFLICT (task_id) DO UPDATE"
            " SET state = 'queued', attempts = 0, progress = 0, error = NULL, finished_at = NULL",
            (task_id, kind, Json(dict(params))),
        )


def queue_task(cursor: Cursor, kind: str, params: Mapping[str, Any]) -> str:
    """Make a task in the caller's transaction and answer its id."""
    task_id = str(uuid.uuid4())
    cursor.execute("INSERT INTO tasks (task_id, kind, params) VALUES (%s, %s, %s)", (task_id, kind, Json(dict(params))))
    return task_id


def claim_task(connection: Connection, kinds: Sequence[str]) -> Task | None:
    """The oldest task of these kinds that nobody works on, now ours; None if there is none."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_CLAIM, (list(kinds),))
        row = cursor.fetchone()
    return Task(str(row[0]), *row[1:]) if row else None


def tell_progress(connection: Connection, task_id: str, progress: float, counts: Mapping[str, Any]) -> None:
    """Tell how far a task is, 0 to 1; also keeps it ours. Call at least every 10 s."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tasks SET progress = %s, counts = %s, seen_at = now() WHERE task_id = %s",
            (progress, Json(dict(counts)), task_id),
        )


def finish_task(connection: Connection, task_id: str, counts: Mapping[str, Any]) -> None:
    """The task is done."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tasks SET state = 'done', progress = 1, counts = %s, finished_at = now() WHERE task_id = %s",
            (Json(dict(counts)), task_id),
        )


def forget_old_tasks(connection: Connection, days: int) -> int:
    """Delete tasks that ended that many days ago; answers how many. Their idempotency keys are forgotten with them."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tasks WHERE finished_at < now() - %s * interval '1 day'", (days,))
        return cursor.rowcount


def fail_task(connection: Connection, task_id: str, error: str) -> None:
    """The task can't be done, and why, in a sentence."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tasks SET state = 'failed', error = %s, finished_at = now() WHERE task_id = %s", (error, task_id)
        )


def release_task(connection: Connection, task_id: str) -> None:
    """Give a task back because this process was asked to stop: the next one to claim it need not wait."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tasks SET state = 'queued', attempts = greatest(0, attempts - 1) WHERE task_id = %s AND state = 'running'",
            (task_id,),
        )
