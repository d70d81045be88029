"""Rows of files: back into a small file of the same name, which the importer reads as it read the first."""

import uuid
from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.letters import MAX_PAYLOAD, UPLOAD
from common.settings import Settings
from common.tasks import create_task
from ops.follow import follow
from ops.letters.shelf import Letter, delete

_AGAIN = "correct it in the file and import that again (./gems import): what is stored already is not stored twice"


def replay_upload(settings: Settings, connection: Connection, entry_id: str, letters: Sequence[Letter]) -> dict[int, str]:
    """Import the rows of one file once more and delete those that are good now; answers why the others stay, by their ids."""
    if any(len(letter.payload) >= MAX_PAYLOAD for letter in letters):
        return _all(letters, f"a row of this file is longer than the {MAX_PAYLOAD} characters that are kept; {_AGAIN}")
    params = _params(connection, entry_id)
    if params is None:
        return _all(letters, f"nobody remembers which file this was; {_AGAIN}")
    letters = sorted(letters, key=lambda letter: not letter.payload.lstrip().startswith(("{", "[")))  # the first tells the format
    path = settings.data_dir / "uploads" / f"dead-letters-{uuid.uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join([f"{letter.payload}\n" for letter in letters]))
    task_id = create_task(connection, "import", {**params, "path": str(path.resolve())})
    last = follow(connection, task_id, params["filename"], "the importer", "rows")
    refused = _take_back(connection, task_id, letters, last.state == "done")
    return refused if last.state == "done" else _all(letters, f"{last.error}; {_AGAIN}")


def _take_back(connection: Connection, task_id: str, letters: Sequence[Letter], is_done: bool) -> dict[int, str]:
    """What the importer refused again keeps its old letter instead of the new one; letters of good rows go."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM dead_letters WHERE stream = %s AND entry_id = %s RETURNING row_number, reason", (UPLOAD, task_id)
        )
        refused = {letters[number - 1].id: reason for number, reason in cursor.fetchall()}
        delete(cursor, [letter.id for letter in letters if is_done and letter.id not in refused])
    return refused


def _all(letters: Sequence[Letter], why: str) -> dict[int, str]:
    return {letter.id: why for letter in letters}


def _params(connection: Connection, entry_id: str) -> dict[str, Any] | None:
    """What the first import was told: the file's name, and whose rows and ids they are."""
    if entry_id.startswith("file:"):
        return {"filename": _plain_name(entry_id.removeprefix("file:"))}
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT params FROM tasks WHERE task_id::text = %s", (entry_id,))
        row = cursor.fetchone()
    if row is None:
        return None
    kept = {name: value for name, value in row[0].items() if name in ("symbol", "kind") and value}
    return {"filename": _plain_name(row[0].get("filename") or "rows"), **kept}


def _plain_name(name: str) -> str:
    """The rows are not packed any more."""
    for ending in (".gz", ".zip", ".zst"):
        name = name.removesuffix(ending)
    return name
