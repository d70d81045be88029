"""What is too much is refused before it costs much: bodies, depth, numbers, statements."""

import gzip
import time

import psycopg2
import pytest
from flask.testing import FlaskClient

from common.settings import Settings
from web.app import MAX_BODY_BYTES
from web.stores import STATEMENT_TIMEOUT_S, Stores

INGEST = "/api/ingestion/ingest/"


def test_a_compressed_body_is_not_unpacked(storeless: FlaskClient) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    began_s = time.process_time()
    answer = storeless.post("/api/analytics/alerts/create/", data=bomb, headers=headers)
    assert (answer.status_code, answer.get_json()["field"]) == (400, "body")
    assert time.process_time() - began_s < 1


def test_a_body_past_the_limit_is_413(storeless: FlaskClient) -> None:
    answer = storeless.post(
        "/api/analytics/alerts/create/", data=b" " * (MAX_BODY_BYTES + 1), content_type="application/json"
    )
    assert answer.status_code == 413
    assert "larger" in answer.get_json()["error"]


def test_a_statement_that_takes_too_long_is_ended(settings: Settings) -> None:
    assert STATEMENT_TIMEOUT_S <= 30
    stores = Stores(settings)
    row = stores.row("SHOW statement_timeout")
    assert row == (f"{STATEMENT_TIMEOUT_S}s",)
    with stores.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT pg_sleep(5)")
    stores.close()
