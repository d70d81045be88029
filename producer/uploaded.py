"""Uploads seen through: a 202 for a file promises its rows, though Redis forgets entries or PostgreSQL the task.

A file stays until its rows were stored and some time more. Its task is queued again under the same id where it is gone with an
older copy of PostgreSQL, or where Redis may have lost what the import had sent; rows that are there already are not stored twice.
"""

from pathlib import Path

import redis
from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.log import get_logger
from common.settings import Settings
from common.streams import EntryId, server_identity, writers_position
from common.tasks import queue_again
from common.uploads import SUFFIX, forget_upload, note_of, read_wanted, upload_folder
from producer.batcher import Batch
from producer.patient import Patient
from producer.publisher import send

#: A younger file's task may be on its way.
LEFT_S = 10.0
KEEP_S = 75.0
#: The stream keeps its last minute: a younger entry that is missing was lost.
KEPT_MS = 50_000

_STATE = "SELECT state, extract(epoch FROM clock_timestamp() - finished_at)::float8 FROM tasks WHERE task_id = %s::uuid"

log = get_logger(__name__)


class Witness:
    """Sends, and knows whether Redis still had the last that was sent when more was: a log loses its end first."""

    def __init__(self) -> None:
        self._last: dict[str, EntryId] = {}
        self._run_id = ""
        self.doubtful = False

    def send(self, client: redis.Redis, batches: list[Batch]) -> None:
        """As `publisher.send`."""
        self._look(client)
        self._last |= send(client, batches)

    def is_stored(self, client: redis.Redis) -> bool | None:
        """True: the writers have committed all that was sent. False: some may be lost. None: not yet."""
        positions = [(writers_position(client, stream), at) for stream, at in self._last.items()]
        self._look(client)
        if self.doubtful:
            return False
        return True if all(position and position >= at for position, at in positions) else None

    def _look(self, client: redis.Redis) -> None:
        run_id, now_ms = server_identity(client), int(client.time()[0]) * 1000
        restarted, self._run_id = self._run_id not in ("", run_id), run_id
        for stream, at in self._last.items():
            if not client.xrange(stream, str(at), str(at), count=1) and (restarted or now_ms - at.ms < KEPT_MS):
                self.doubtful = True


class Uploads:
    """Looks after the files; `finished` may be called by another thread."""

    def __init__(self, settings: Settings, patient: Patient) -> None:
        self._settings, self._patient = settings, patient
        self._witnesses: dict[Path, Witness] = {}
        self.waiting = 0

    def finished(self, path: Path, witness: Witness) -> None:
        """A file has been read to its end."""
        self._witnesses[path] = witness

    def look(self, now_s: float) -> None:
        """Queue again what has to be, remove what is stored."""
        notes = sorted(upload_folder(self._settings).glob(f"*{SUFFIX}"))
        self.waiting = sum(not self._is_seen_through(note, now_s) for note in notes)

    def _is_seen_through(self, note: Path, now_s: float) -> bool:
        path, wanted = note.with_name(note.name.removesuffix(SUFFIX)), read_wanted(note)
        if wanted is None or not path.exists():
            if now_s - note.stat().st_mtime > LEFT_S:
                forget_upload(path)
            return True
        state, finished_s_ago = self._patient.once_of_database(lambda connection: _state(connection, wanted.task_id))
        if state == "failed":
            forget_upload(path)
        elif state == "done":
            stored = self._is_stored(path, finished_s_ago)
            return self._queue_again(path, "its rows may not all be stored") if stored is False else bool(stored)
        elif state is None and now_s - note.stat().st_mtime > LEFT_S:
            return self._queue_again(path, "its task is gone")
        return state == "failed"

    def _is_stored(self, path: Path, finished_s_ago: float) -> bool | None:
        """As `Witness.is_stored`; of a file that this process has not read nobody knows, so it has to be read again."""
        witness = self._witnesses.get(path)
        stored = witness.is_stored(self._patient.redis) if witness else False
        if stored and finished_s_ago >= KEEP_S:
            forget_upload(path)
            del self._witnesses[path]
        return stored

    def _queue_again(self, path: Path, why: str) -> bool:
        wanted = read_wanted(note_of(path))
        if wanted:
            log.warning("%s is imported again: %s", wanted.params.get("filename", path.name), why)
            self._witnesses.pop(path, None)
            self._patient.once_of_database(lambda connection: queue_again(connection, wanted.task_id, "import", wanted.params))
        return False


def _state(connection: Connection, task_id: str) -> tuple[str | None, float]:
    """A task's state and how long ago it ended; None: there is no such task."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_STATE, (task_id,))
        row = cursor.fetchone()
    return (row[0], row[1] or 0.0) if row else (None, 0.0)
