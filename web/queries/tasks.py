# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""One task's row."""

from web.queries.pieces import instant
from web.stores import Stores

_TASK = f"""
SELECT json_build_object(
    'task_id', task_id, 'kind', kind, 'state', state, 'progress', progress, 'counts', counts, 'error', error,
    'attempts', attempts, 'created_at', {instant("created_at")}, 'started_at', {instant("started_at")},
    'finished_at', {instant("finished_at")})::text
FROM tasks WHERE task_id = %(task_id)s
"""


def task_json(stores: Stores, task_id: str) -> str | None:
    """The task, or None if there is none of that id."""
    row = stores.row(_TASK, {"task_id": task_id})
    return str(row[0]) if row else None
