"""A task followed to its end by a person who waits, with a progress bar."""

import time
from typing import Any, NamedTuple

_POLL_S = 0.1
_PATIENCE_S = 30.0


class TaskState(NamedTuple):
    """A task as its row tells it."""

    state: str
    progress: float
    counts: dict[str, Any]
    error: str | None


def follow(connection: Any, task_id: str, name: str, worker: str, counted: str) -> TaskState:
    """Show the progress until the task has ended; its last state. `worker` does it, `counted` is the count that is shown."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[counted]}"))
    queued_until_s = time.monotonic() + _PATIENCE_S
    with Progress(*columns, TimeRemainingColumn()) as bars:
        bar = bars.add_task(name, total=1.0, counted="waiting")
        while True:
            now = task_state(connection, task_id)
            if now.state == "queued" and time.monotonic() > queued_until_s:
                bars.update(bar, counted=f"waiting for {worker} (./gems status tells whether it runs)")
            elif now.state != "queued":
                bars.update(bar, completed=now.progress, counted=f"{now.counts.get(counted, 0):,} {counted.replace('_', ' ')}")
            if now.state in ("done", "failed"):
                return now
            time.sleep(_POLL_S)


def task_state(connection: Any, task_id: str) -> TaskState:
    """A task as it is now."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT state, progress, counts, error FROM tasks WHERE task_id = %s", (task_id,))
        return TaskState(*cursor.fetchone())
