"""`python -m producer.importer`: files that the web or `./gems import` left as tasks, one after the other.

`python -m producer.importer FILE [--symbol S]` imports one file at once and prints its progress, a line of JSON each.
"""

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import orjson
import psycopg2
import redis

from common.database import transient, wait_for_schema
from common.errors import ConfigError, GemsError
from common.health import Heartbeat
from common.lifecycle import Stop, run
from common.log import get_logger
from common.settings import Settings
from common.tasks import MAX_ATTEMPTS, Task, claim_task, fail_task, finish_task, release_task, tell_progress
from common.uploads import note_of, upload_folder
from producer.importing import Counts, FileImport, Progress
from producer.patient import Patient, Stopped
from producer.posted import PostedTicks

POLL_S = 0.25

log = get_logger(__name__)


def import_file(
    settings: Settings, path: Path, symbol: str | None = None, on_progress: Progress | None = None, stop: Stop | None = None
) -> Counts:
    """Import one file now; `on_progress(fraction, counts)` is called about every second.

    Raises:
        GemsError: what is wrong with the file, or with GEMS_SHARDS, in a sentence. Stopped: `stop` was asked for.
    """
    patient = Patient(settings, stop or Stop(), "import")
    try:
        patient.keep_layout()
        tell = on_progress or (lambda fraction, counts: None)
        return FileImport(settings, patient, path, path.name, symbol, f"file:{path.name}", tell).run()
    finally:
        patient.close()


class Importer:
    """Claims tasks of kind `import` until asked to stop."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings, self._stop = settings, stop
        self._patient = Patient(settings, stop, "importer")
        self._heartbeat = Heartbeat(self._patient.redis, "importer")
        self._posted = PostedTicks(settings, stop)
        self._failure: BaseException | None = None
        self._files = self._rows = 0

    def run(self) -> None:
        """Serve tasks; beside them, a thread that looks after posted ticks.

        Raises:
            BaseException: the one that ended that thread. ConfigError: the streams of another GEMS_SHARDS are not drained.
        """
        try:
            self._patient.keep_layout()
        except Stopped:
            return
        thread = threading.Thread(target=self._look_after_posted, name="posted", daemon=True)
        thread.start()
        with contextlib.suppress(Stopped):
            while not self._stop.requested():
                self._beat("")
                task = self._patient.of_database(lambda connection: claim_task(connection, ["import"]))
                if task:
                    self._serve(task)
                else:
                    self._stop.wait(POLL_S)
        thread.join(5.0)
        self._patient.close()
        if self._failure:
            raise self._failure

    def _look_after_posted(self) -> None:
        try:
            self._posted.run()
        except BaseException as exc:
            self._failure = exc
            self._stop.ask()

    def _serve(self, task: Task) -> None:
        """A task to its end: done, failed with a sentence, or given back because we were asked to stop."""
        path = Path(task.params["path"])
        work = self._work(task, path)
        try:
            if task.attempts > MAX_ATTEMPTS:
                raise ConfigError(f"given up: {MAX_ATTEMPTS} attempts ended without a result")
            if not path.is_file():
                raise ConfigError(f"the file {path} is not there any more")
            log.info("importing %s, attempt %d", task.params.get("filename", path.name), task.attempts)
            counts = work.run()
        except Stopped:
            with contextlib.suppress(psycopg2.Error):
                self._patient.once_of_database(lambda connection: release_task(connection, task.task_id))
            raise
        except (GemsError, OSError) as exc:
            self._fail(task, work, str(exc))
        else:
            self._posted.uploads.finished(path, work.witness)
            self._patient.of_database(lambda connection: finish_task(connection, task.task_id, counts.as_json()))
            log.info("imported %s: %s", path.name, counts.as_json())
        self._files, self._rows = self._files + 1, self._rows + work.counts.accepted
        self._remove(path)

    def _work(self, task: Task, path: Path) -> FileImport:
        name, symbol = task.params.get("filename") or path.name, task.params.get("symbol") or None
        kind = task.params.get("kind") or None
        return FileImport(self._settings, self._patient, path, name, symbol, task.task_id, self._teller(task), kind)

    def _teller(self, task: Task) -> Callable[[float, Counts], None]:
        def tell(fraction: float, counts: Counts) -> None:
            self._beat(task.task_id, counts)
            try:
                self._patient.once_of_database(
                    lambda connection: tell_progress(connection, task.task_id, fraction, counts.as_json())
                )
            except psycopg2.Error as exc:
                if not transient(exc):
                    raise
                log.warning("the progress can not be told: %s", str(exc).strip())

        return tell

    def _fail(self, task: Task, work: FileImport, sentence: str) -> None:
        log.warning("import of %s failed: %s", task.params.get("filename"), sentence)
        counts = work.counts.as_json()
        self._patient.of_database(lambda connection: tell_progress(connection, task.task_id, work.fraction, counts))
        self._patient.of_database(lambda connection: fail_task(connection, task.task_id, sentence))

    def _remove(self, path: Path) -> None:
        """Only our own copies: `./gems import` names the user's file, and one with a note stays until its rows are stored."""
        if path.resolve().is_relative_to(upload_folder(self._settings)) and not note_of(path).exists():
            path.unlink(missing_ok=True)

    def _beat(self, task_id: str, counts: Counts | None = None) -> None:
        if self._heartbeat.due():
            rows = self._rows + (counts.accepted if counts else 0)
            with contextlib.suppress(redis.RedisError, OSError):
                posted = self._posted.facts()
                self._heartbeat.tell({"files": self._files, "rows": rows, "task": task_id, **posted})


def serve(settings: Settings, stop: Stop) -> None:
    """Import what is left as tasks until asked to stop."""
    if not settings.redis_url:
        raise ConfigError("GEMS_REDIS_URL: is not set; start with ./gems up, or name your own Redis")
    connection = wait_for_schema(settings, stop, "importer")
    if connection is not None:
        connection.close()
        Importer(settings, stop).run()


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--symbol", help="What the rows are of, where neither they nor the file's name say it.")
def once(file: Path, symbol: str | None) -> None:
    """Import FILE now; a line of JSON tells the progress every second."""

    def tell(fraction: float, counts: Counts, **more: object) -> None:
        click.echo(orjson.dumps({"progress": round(fraction, 4), "counts": counts.as_json(), **more}))

    def main(settings: Settings, stop: Stop) -> None:
        try:
            tell(1.0, import_file(settings, file, symbol, tell, stop), state="done")
        except (GemsError, psycopg2.Error) as exc:
            click.echo(orjson.dumps({"state": "failed", "error": str(exc).strip()}))
            sys.exit(1)

    run("import", main)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        once()
    else:
        run("importer", serve)
