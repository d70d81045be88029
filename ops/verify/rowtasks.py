"""Law 4 with `--deep`, where no formula will do: filters, robust lines and baskets, made again by a task that writes nothing."""

import time
from contextlib import closing
from typing import Any, NamedTuple

from common.database import connect_database
from common.pairseries import Series as NamedSeries
from common.pairseries import SeriesKey, task_params
from common.settings import Settings
from common.tasks import create_task
from ops.follow import task_state
from ops.verify.pairs import Series

#: A task that nobody begins within so long is given up.
PATIENCE_S = 10.0
_POLL_S = 0.1


class Compared(NamedTuple):
    """What a task found: rows looked at, how many are other, the first of them in words."""

    rows: int
    other: int
    examples: list[str]


def compare_by_task(settings: Settings, series: Series, legs: tuple[str, ...], first_us: int, end_us: int) -> Compared | None:
    """Rows of `[first_us, end_us)` as `./gems recompute --check` compares them; None if nobody does the task."""
    key = SeriesKey(series.pair, series.timeframe, series.window, series.method)
    params = task_params(NamedSeries(key, legs), start_us=first_us, end_us=end_us, check=True)
    with closing(connect_database(settings, "verify")) as connection:
        counts = _done(connection, create_task(connection, "spread", params))
    return Compared(counts["rows"], counts["changed"], counts["examples"]) if counts is not None else None


def _done(connection: Any, task_id: str) -> dict[str, Any] | None:
    until_s = time.monotonic() + PATIENCE_S
    while (now := task_state(connection, task_id)).state in ("queued", "running"):
        if now.state == "queued" and time.monotonic() > until_s:
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM tasks WHERE task_id = %s AND state = 'queued'", (task_id,))
            return None
        time.sleep(_POLL_S)
    return now.counts if now.state == "done" else None
