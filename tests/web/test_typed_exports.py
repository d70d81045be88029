"""Typed exports (Parquet, Arrow), what was known at some moment, and files by the lists' own routes."""

import io
import json
import subprocess
import sys
from datetime import UTC
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from ops.house import ROOT
from tests.web.rows import AT, add_bars, add_pair_rows, add_stats, add_ticks, second
from tests.web.test_exports import BARS, read
from web.exporting import AT_ONCE, FORMATS


def plain(value: Any) -> Any:
    """A value of a typed file as JSON has it."""
    if hasattr(value, "isoformat"):
        assert value.tzinfo is not None
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return [plain(each) for each in value] if isinstance(value, list) else float(value) if isinstance(value, Decimal) else value


def add_one_of_each(database: Connection) -> dict[str, str]:
    """Rows of each export, nulls among them; the answer is the query of each."""
    moments = [second(n) for n in range(5)]
    add_bars(database, "BTCUSDT", moments)
    add_ticks(database, "BTCUSDT", [(n, at, "1.10", "2", ("b", None)[n % 2], None) for n, at in enumerate(moments)])
    add_pair_rows(
        database,
        "BTCUSDT_ETHUSDT",
        [{"timestamp": at, "z_score": (float("nan"), 1.5)[n % 2], "coint_at": (None, at)[n % 2]} for n, at in enumerate(moments)],
    )
    legs = {"hedge_ratios": [1.5, None], "leg_prices": [Decimal("1.10"), Decimal(2)]}
    add_pair_rows(database, "A_B_C", [{"timestamp": at, **legs} for at in moments])
    add_stats(database, "BTCUSDT", [(at, None) for at in moments])
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts (alert_type, symbol_pair, timeframe, condition, note)"
            " VALUES ('price_above', 'BTCUSDT', '1s', '{\"threshold\": 1}', 'n') RETURNING id"
        )
        cursor.execute(
            "INSERT INTO alert_events (alert_id, bar_timestamp, transition, value, details)"
            " SELECT id, %s, 'triggered', 2.5, '{\"close\": 2.5}' FROM alerts",
            (AT,),
        )
    return {
        "/api/ingestion/ticks/?symbol=BTCUSDT": "ticks/?symbol=BTCUSDT",
        "/api/ingestion/bars/?symbol=BTCUSDT": "bars/?symbol=BTCUSDT",
        "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT": "spread/?symbol1=BTCUSDT&symbol2=ETHUSDT",
        "/api/analytics/spread/?symbols=A,B,C": "spread/?symbols=A,B,C",
        "/api/analytics/stats/?symbol=BTCUSDT": "stats/?symbol=BTCUSDT",
        "/api/analytics/alerts/events/?severity=warning": "alert-events/?severity=warning",
    }


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_typed_file_has_the_rows_of_ndjson(
    client: FlaskClient, database: Connection, monkeypatch: pytest.MonkeyPatch, form: str, batch: int
) -> None:
    monkeypatch.setattr("web.queries.exports.BATCH_ROWS", batch)
    for path in add_one_of_each(database).values():
        expected = read(client, f"/api/export/{path}&format=ndjson")
        rows = read(client, f"/api/export/{path}&format={form}")
        assert len(rows) == len(expected) >= 1, path
        for row, other in zip(rows, expected, strict=True):
            shown = {name: plain(value) for name, value in row.items()}
            if "details" in shown:
                shown["details"] = json.loads(shown["details"])
            assert shown == other
    (basket, *_) = read(client, f"/api/export/spread/?symbols=A,B,C&format={form}")
    assert basket["leg_prices"] == [Decimal("1.10"), Decimal(2)] and isinstance(basket["leg_prices"][0], Decimal)
    (basket, *_) = read(client, f"/api/export/spread/?symbols=A,B,C&format={form}&decimals=string")
    assert basket["leg_prices"] == ["1.10", "2"]


def test_typed_files_say_their_types(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [second(0)])
    types = {"timestamp": "timestamp[us, tz=UTC]", "close": "decimal128(38, 18)", "vwap": "double", "tick_count": "int64"}
    texts = {**types, "close": "string", "vwap": "string"}
    for query, expected in (("", types), ("&decimals=string", texts)):
        schema = pq.read_schema(io.BytesIO(client.get(f"{BARS}&format=parquet{query}").data))
        assert {name: str(schema.field(name).type) for name in expected} == expected
        assert pa.ipc.open_stream(client.get(f"{BARS}&format=arrow{query}").data).schema.equals(schema)


def test_a_decimal_is_exact_or_refused_before_the_first_byte(client: FlaskClient, database: Connection) -> None:
    ticks = "/api/export/ticks/?symbol=BTCUSDT&format=parquet"
    exact = ["99999999999999999999.000000000000000001", "0.1000000000000000000000"]
    add_ticks(database, "BTCUSDT", [(n, second(n), text, "1", "b", None) for n, text in enumerate(exact)])
    assert [row["price"] for row in read(client, ticks)] == [Decimal(text) for text in exact]
    for n, text in enumerate(("0.0000000000000000001", "100000000000000000000"), 10):
        add_ticks(database, "BTCUSDT", [(n, second(n), text, "1", "b", None)])
        refused = client.get(f"{ticks}&start={second(n).timestamp() * 1000:.0f}", buffered=True)
        assert (refused.status_code, refused.get_json()["field"]) == (400, "decimals")
        assert "price has more than 20 digits before or 18 behind the point" in refused.get_json()["error"]
        assert read(client, f"{ticks}&decimals=string")[-1]["price"] == text
    for _ in range(AT_ONCE + 1):  # what was refused gave its place back
        assert client.get(BARS, buffered=True).status_code == 200


def test_what_was_known_is_exported_as_it_is_listed(client: FlaskClient, database: Connection) -> None:
    known = add_one_of_each(database)
    with database, database.cursor() as cursor:
        for table, revisions in (
            ("processed_bars", "bar_revisions"),
            ("spread_analytics", "spread_revisions"),
            ("price_stats", "stats_revisions"),
        ):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> 'replaced_at'",
                (revisions,),
            )
            names = ", ".join(sorted(name for (name,) in cursor.fetchall()))
            cursor.execute(f"UPDATE {table} SET written_at = %s", (second(100),))  # noqa: S608 - names of this file
            cursor.execute(f"INSERT INTO {revisions} ({names}, replaced_at) SELECT {names}, %s FROM {table}", (second(200),))  # noqa: S608
            cursor.execute(f"UPDATE {table} SET written_at = %s, revision = 7", (second(200),))  # noqa: S608
    for listed, path in known.items():
        if "ticks" in path or "alert" in path:
            continue
        for moment, revisions in ((50, []), (150, [0] * 5), (250, [7] * 5)):
            as_of = f"&as_of={second(moment).timestamp() * 1000:.0f}"
            rows = read(client, f"/api/export/{path}{as_of}")
            assert [row["revision"] for row in rows] == revisions, (path, moment)
            page = client.get(f"{listed}{as_of}&order=asc").get_json()
            shown = next(value for value in page.values() if isinstance(value, list))
            shared = set(rows[0]) & set(shown[0]) if rows else set()
            assert [{name: row[name] for name in shared} for row in rows] == [
                {name: row[name] for name in shared} for row in shown
            ]


def test_a_list_gives_its_rows_as_a_file_too(client: FlaskClient, database: Connection) -> None:
    paths = add_one_of_each(database)
    for listed, path in paths.items():
        for form in set(FORMATS) - {"json"}:
            alias, own = (client.get(f"{at}&format={form}", buffered=True) for at in (listed, f"/api/export/{path}"))
            assert alias.status_code == 200, alias.text
            assert alias.headers["Content-Disposition"] == own.headers["Content-Disposition"]
            assert (alias.mimetype, alias.data) == (own.mimetype, own.data)
        assert client.get(f"{listed}&format=json").get_json()["complete"] is True
    events = client.get("/api/analytics/alerts/1/events/?format=ndjson")
    assert json.loads(events.text)["transition"] == "triggered"
    newest_first = client.get("/api/ingestion/bars/?symbol=BTCUSDT&format=ndjson&order=desc").text.splitlines()
    stamps = [json.loads(line)["timestamp"] for line in newest_first]
    assert len(stamps) == 5 and all(newer > older for newer, older in pairwise(stamps))


@pytest.mark.parametrize("query", ["limit=5", "fill=prev", "cursor=bars.1"])
def test_what_only_pages_have_is_no_part_of_a_file(storeless: FlaskClient, query: str) -> None:
    answer = storeless.get(f"/api/ingestion/bars/?symbol=BTCUSDT&format=csv&{query}")
    assert (answer.status_code, answer.get_json()["field"]) == (400, query.partition("=")[0])


def test_a_web_that_is_not_asked_for_typed_files_does_not_load_pyarrow() -> None:
    code = "import sys, web.app; sys.exit(any(name.startswith('pyarrow') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
