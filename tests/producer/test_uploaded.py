"""A 202 for a file promises its rows: the file stays until they are stored, though Redis forgets them or PostgreSQL the task."""

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from common.lifecycle import Stop
from common.uploads import note_of, upload_folder
from producer.importer import Importer
from producer.patient import Patient
from producer.uploaded import KEEP_S, LEFT_S, Uploads
from tests.consumer.running import a_writer, rows, wait
from web.app import close_app, create_app

CONTENT = b"symbol,trade_id,ts,price,size,side\n" + b"".join(
    b"FILED,%d,2026-11-23T07:00:00.000001Z,42.5,0.25,buy\n" % number for number in range(1, 301)
)


@pytest.fixture
def client(settings) -> Iterator[FlaskClient]:
    app = create_app(settings)
    yield app.test_client()
    close_app(app)


@pytest.fixture
def importer(settings) -> Iterator[Importer]:
    stop = Stop()
    importer = Importer(settings, stop)
    thread = threading.Thread(target=importer.run)
    thread.start()
    yield importer
    stop.ask()
    thread.join(20)
    assert not thread.is_alive()


def upload(client: FlaskClient) -> str:
    form = {"file": (io.BytesIO(CONTENT), "x.csv")}
    answer = client.post("/api/ingestion/upload/", data=form, content_type="multipart/form-data")
    assert answer.status_code == 202
    return str(answer.get_json()["task_id"])


def states(database) -> list[tuple[str, str]]:
    return [tuple(row) for row in rows(database, "SELECT task_id::text, state FROM tasks")]


def stored(database) -> int:
    return rows(database, "SELECT count(*) FROM raw_ticks")[0][0]


def kept(settings) -> list[Path]:
    return sorted(upload_folder(settings).iterdir())


def age_notes(settings, seconds: float) -> None:
    for path in kept(settings):
        os.utime(path, times=(time.time() - seconds, time.time() - seconds))


def test_a_file_stays_until_its_rows_have_been_stored_for_a_while(settings, client, database, importer):
    task_id = upload(client)
    wait(lambda: states(database) == [(task_id, "done")], "import")
    rows(database, "UPDATE tasks SET finished_at = now() - %s * interval '1 second'", KEEP_S)
    importer._posted.uploads.look(time.time())
    assert len(kept(settings)) == 2, "nobody has stored anything yet"
    rows(database, "UPDATE tasks SET finished_at = now()")
    with a_writer(settings):
        wait(lambda: stored(database) == 300, "rows")
    wait(lambda: importer._posted.uploads.waiting == 0, "proof")
    assert len(kept(settings)) == 2
    rows(database, "UPDATE tasks SET finished_at = now() - %s * interval '1 second'", KEEP_S)
    wait(lambda: kept(settings) == [], "removal")


def test_what_redis_forgot_of_a_file_is_imported_again_under_the_same_id(settings, client, database, redis_client, importer):
    task_id = upload(client)
    wait(lambda: states(database) == [(task_id, "done")], "import")
    redis_client.flushall()
    with a_writer(settings):
        wait(lambda: stored(database) == 300, "rows all the same")
    wait(lambda: states(database) == [(task_id, "done")] and importer._posted.uploads.waiting == 0, "rest")


def test_a_task_that_is_gone_with_an_older_postgresql_comes_back(settings, client, database):
    task_id = upload(client)
    rows(database, "DELETE FROM tasks")
    uploads = Uploads(settings, Patient(settings, Stop(), "test"))
    uploads.look(time.time())
    assert (states(database), uploads.waiting) == ([], 1), "it may be on its way"
    age_notes(settings, LEFT_S + 1)
    uploads.look(time.time())
    assert states(database) == [(task_id, "queued")]


def test_a_done_task_that_nobody_can_vouch_for_is_done_again(settings, client, database):
    task_id = upload(client)
    rows(database, "UPDATE tasks SET state = 'done', finished_at = now()")
    Uploads(settings, Patient(settings, Stop(), "test")).look(time.time())
    assert states(database) == [(task_id, "queued")]


def test_a_note_without_its_file_is_removed(settings, client, database):
    upload(client)
    (note,) = upload_folder(settings).glob("*.task")
    path = note.with_name(note.name.removesuffix(".task"))
    assert note == note_of(path)
    path.unlink()
    age_notes(settings, LEFT_S + 1)
    Uploads(settings, Patient(settings, Stop(), "test")).look(time.time())
    assert kept(settings) == []


def test_a_failed_import_leaves_nothing(settings, client, database):
    upload(client)
    rows(database, "UPDATE tasks SET state = 'failed', finished_at = now()")
    Uploads(settings, Patient(settings, Stop(), "test")).look(time.time())
    assert kept(settings) == []
