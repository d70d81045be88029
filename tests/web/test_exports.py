"""Exports: what SQL says, all of it, and memory stays as it is."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.partitions import ensure_month_leaves
from tests.web.rows import AT, add_bars, add_pair_rows, add_source, add_stats, add_ticks, second
from web.columnar import GROUP_ROWS
from web.exporting import AT_ONCE

BARS = "/api/export/bars/?symbol=BTCUSDT&timeframe=1s"
MANY = 1_000_000
FLAT_BYTES = 48 << 20


def read(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    answer = client.get(path, buffered=True)
    assert answer.status_code == 200, answer.text
    if "format=parquet" in path:
        return pq.read_table(io.BytesIO(answer.data)).to_pylist()
    if "format=arrow" in path:
        return pa.ipc.open_stream(answer.data).read_all().to_pylist()
    if "format=csv" in path:
        return list(csv.DictReader(io.StringIO(answer.text)))
    return json.loads(answer.text) if "format=json" in path else [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_format_has_the_rows_of_the_lists(
    client: FlaskClient, database: Connection, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr("web.queries.exports.BATCH_ROWS", batch)
    moments = [second(n) for n in range(5)]
    add_bars(database, "BTCUSDT", moments)
    add_ticks(database, "BTCUSDT", [(n, at, "1.10", "2", "b", None) for n, at in enumerate(moments)])
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": at, "z_score": float("nan")} for at in moments])
    add_stats(database, "BTCUSDT", [(at, None) for at in moments])
    pair = "symbol1=BTCUSDT&symbol2=ETHUSDT"
    for path, listed, name in (
        ("ticks/?symbol=BTCUSDT", "/api/ingestion/ticks/?symbol=BTCUSDT", "ticks"),
        ("bars/?symbol=BTCUSDT", "/api/ingestion/bars/?symbol=BTCUSDT", "bars"),
        (f"spread/?{pair}", f"/api/analytics/spread/?{pair}", "analytics"),
        ("stats/?symbol=BTCUSDT", "/api/analytics/stats/?symbol=BTCUSDT", "stats"),
    ):
        expected = client.get(f"{listed}&order=asc").get_json()[name]
        for form in ("ndjson", "json"):
            rows = read(client, f"/api/export/{path}&format={form}")
            shared = set(rows[0]) & set(expected[0])
            assert len(shared) >= 6
            assert [{key: row[key] for key in shared} for row in rows] == [{key: row[key] for key in shared} for row in expected]
        lines = read(client, f"/api/export/{path}&format=csv&order=desc")
        assert [line["timestamp"] for line in lines] == [row["timestamp"] for row in reversed(expected)]
    assert read(client, "/api/export/ticks/?symbol=BTCUSDT&format=csv")[0]["price"] == "1.10"
    assert read(client, BARS + "&start=2026-11-23T07:00:01Z&end=2026-11-23T07:00:03Z")[0]["close"] == 101


def test_an_export_names_its_file_and_may_be_empty(client: FlaskClient) -> None:
    answer = client.get(BARS + "&format=csv", buffered=True)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="bars-BTCUSDT-1s.csv"'
    assert answer.mimetype == "text/csv"
    assert len(answer.text.splitlines()) == 1
    assert client.get(BARS + "&format=json").get_json() == []
    assert client.get(BARS).text == ""


def test_a_note_is_no_formula(client: FlaskClient, database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts (alert_type, symbol_pair, timeframe, condition, note)"
            " VALUES ('price_above', 'BTCUSDT', '1s', '{\"threshold\": 1}', '=cmd|x') RETURNING id"
        )
        cursor.execute(
            "INSERT INTO alert_events (alert_id, bar_timestamp, transition, value) SELECT id, now(), 'triggered', -1 FROM alerts"
        )
    (row,) = read(client, "/api/export/alert-events/?format=csv&symbol_pair=BTCUSDT")
    assert (row["note"], row["value"]) == ("'=cmd|x", "-1.0")
    assert read(client, "/api/export/alert-events/?format=ndjson")[0]["note"] == "=cmd|x"


def test_few_exports_run_at_once_and_each_gives_its_place_back(client: FlaskClient, app: Flask) -> None:
    running = [app.test_client().get(BARS + "&format=csv", buffered=False) for _ in range(AT_ONCE)]
    refused = client.get(BARS, buffered=True)
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    for answer in running:
        answer.close()
    for _ in range(AT_ONCE + 1):
        assert client.get(BARS, buffered=True).status_code == 200
        assert client.head(BARS, buffered=True).status_code == 200


@pytest.mark.parametrize(("query", "field"), [("format=xls", "format"), ("order=up", "order"), ("start=x", "start")])
def test_bad_exports_are_400(storeless: FlaskClient, query: str, field: str) -> None:
    answer = storeless.get(f"{BARS}&{query}")
    assert (answer.status_code, answer.get_json()["field"]) == (400, field)


def add_a_million_bars(database: Connection) -> None:
    add_source(database, "BTCUSDT")
    ensure_month_leaves(database, {second(n * 86_400).date() for n in range(13)})
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO processed_bars (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume,"
            " vwap, taker_buy_volume, first_trade_id, last_trade_id, status)"
            " SELECT 'BTCUSDT', '1s', %s + n * interval '1 second',"
            " 1, 2, 1, 2, n, 1, 1, 1, 0, n, n, 'complete' FROM generate_series(0, %s) AS n",
            (AT, MANY - 1),
        )


def volumes(path: Path, form: str) -> tuple[int, Decimal]:
    """How many rows a file has, and the sum of their volumes."""
    if form == "csv":
        with path.open() as file:
            column = [Decimal(line.split(",")[7]) for line in file if not line.startswith("symbol,")]
            return len(column), sum(column, Decimal(0))
    table = pq.read_table(path, columns=["volume"]) if form == "parquet" else pa.ipc.open_stream(path.open("rb")).read_all()
    return table.num_rows, pc.sum(table["volume"]).as_py()


def test_a_million_rows_are_streamed_in_flat_memory(app: Flask, database: Connection, tmp_path: Path) -> None:
    add_a_million_bars(database)
    me = psutil.Process()
    for form in ("csv", "arrow", "parquet"):
        path = tmp_path / form
        with app.test_client().get(f"{BARS}&format={form}", buffered=False) as answer, path.open("wb") as file:
            parts = iter(answer.response)
            file.write(next(parts))
            before = highest = me.memory_info().rss
            for part in parts:
                file.write(part)
                highest = max(highest, me.memory_info().rss)
        assert highest - before < FLAT_BYTES, f"{form}: {highest - before:,}"
        assert volumes(path, form) == (MANY, MANY * (MANY - 1) // 2)
    groups = pq.ParquetFile(tmp_path / "parquet").metadata
    assert groups.num_row_groups > 10 and groups.row_group(0).num_rows <= GROUP_ROWS
