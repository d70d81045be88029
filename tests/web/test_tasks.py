"""Tasks that routes make for others, and what they tell."""

import http.client
import io
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.settings import Settings
from common.tasks import claim_task, finish_task
from tests.web.streams import running_web
from web.app import close_app, create_app

UPLOAD = "/api/ingestion/upload/"


@pytest.mark.parametrize(
    ("path", "body", "echo", "kind", "params"),
    [
        (
            "/api/ingestion/process-bars/", {"symbol": "BTCUSDT", "start": 1795417200000},
            {"symbol": "BTCUSDT", "timeframe": "1s"},
            "bars", {"symbol": "BTCUSDT", "timeframe": "1s", "start_us": 1795417200000000},
        ),
        (
            "/api/analytics/compute-spread/",
            {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "timeframe": "1m", "window": 30, "end": "2026-11-23T07:00:00Z"},
            {"symbol_pair": "BTCUSDT_ETHUSDT"},
            "spread",
            {"symbols": ["BTCUSDT", "ETHUSDT"], "timeframe": "1m", "window": 30, "method": "ols", "end_us": 1795417200000000},
        ),
        (
            "/api/analytics/compute-stats", {"symbol": "BTCUSDT", "more": 1}, {"symbol": "BTCUSDT"},
            "stats", {"symbol": "BTCUSDT", "timeframe": "1s", "window": 20},
        ),
    ],
)  # fmt: skip
def test_a_route_queues_its_kind_of_task(
    client: FlaskClient, database: Connection, path: str, body: Any, echo: dict[str, Any], kind: str, params: dict[str, Any]
) -> None:
    response = client.post(path, json=body)
    made = response.get_json()
    assert (response.status_code, made.pop("status")) == (202, "processing")
    task_id = made.pop("task_id")
    assert made == echo
    told = client.get(f"/api/tasks/{task_id}").get_json()
    assert (told["state"], told["kind"], told["started_at"], told["error"]) == ("queued", kind, None, None)
    task = claim_task(database, [kind])
    assert task is not None
    assert (task.task_id, task.params) == (task_id, params)
    finish_task(database, task_id, {"rows": 5})
    told = client.get(f"/api/tasks/{task_id}/").get_json()
    assert (told["state"], told["progress"], told["counts"]) == ("done", 1, {"rows": 5})
    assert told["created_at"] <= told["started_at"] <= told["finished_at"]


def test_a_path_with_nul_is_400_like_any_other_nul(client: FlaskClient) -> None:
    response = client.get("/api/tasks/%00/")
    assert (response.status_code, response.get_json()["field"]) == (400, "path")
    assert response.get_json()["error"] == r"the path must be text without NUL, was '/api/tasks/\x00/'"


@pytest.mark.parametrize("task_id", ["2e75a31d-86b0-4333-a7c0-d12c0a2f333d", "nothing", "1", "%01"])
def test_an_unknown_task_is_404(client: FlaskClient, task_id: str) -> None:
    response = client.get(f"/api/tasks/{task_id}/")
    assert (response.status_code, response.get_json()["error"]) == (404, "Task not found")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/ingestion/process-bars/", {}, "symbol"),
        ("/api/ingestion/process-bars/", {"symbol": "BTCUSDT", "timeframe": "7m"}, "timeframe"),
        ("/api/ingestion/process-bars/", {"symbol": "BTCUSDT", "start": "now"}, "start"),
        ("/api/analytics/compute-spread/", {"symbol1": "BTCUSDT", "symbol2": "btcusdt"}, "symbol2"),
        ("/api/analytics/compute-spread/", {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "window": 2}, "window"),
        ("/api/analytics/compute-spread/", {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "window": 60.5}, "window"),
        ("/api/analytics/compute-spread/", {"symbol1": "BTCUSDT", "symbol2": "ETHUSDT", "window": True}, "window"),
        ("/api/analytics/compute-spread/", {"symbol1": ["BTCUSDT"], "symbol2": "ETHUSDT"}, "symbol1"),
        ("/api/analytics/compute-stats/", {"symbol": None}, "symbol"),
        ("/api/analytics/compute-stats/", [], "body"),
    ],
)
def test_bad_bodies_are_400_and_name_the_field(storeless: FlaskClient, path: str, body: Any, field: str) -> None:
    response = storeless.post(path, json=body)
    assert (response.status_code, response.get_json()["field"]) == (400, field)
    assert response.get_json()["error"].startswith(field)


def upload(client: FlaskClient, content: bytes, name: str = "BTCUSDT-trades.csv", **form: str) -> Any:
    return client.post(UPLOAD, data={"file": (io.BytesIO(content), name), **form}, content_type="multipart/form-data")


def test_an_upload_is_a_file_and_a_task(client: FlaskClient, database: Connection, settings: Settings) -> None:
    content = os.urandom(3_000_000)
    response = upload(client, content, "../../etc/BTC USDT\u00e9.csv", symbol="btcusdt")
    made = response.get_json()
    assert (response.status_code, made["status"], made["filename"]) == (202, "processing", "BTC USDT\u00e9.csv")
    task = claim_task(database, ["import"])
    assert task is not None
    path = Path(task.params["path"])
    assert (task.task_id, task.params["symbol"], task.params["filename"]) == (made["task_id"], "BTCUSDT", "BTC USDT\u00e9.csv")
    assert path.parent == settings.data_dir / "uploads"
    assert path.read_bytes() == content
    assert path.name.endswith("BTC_USDTe.csv")


def left_over(settings: Settings) -> list[Path]:
    return list((settings.data_dir / "uploads").glob("*"))


def test_bad_uploads_leave_nothing(client: FlaskClient, settings: Settings, database: Connection) -> None:
    assert upload(client, b"").get_json()["field"] == "file"
    assert upload(client, b"x", symbol="not one").get_json()["field"] == "symbol"
    assert client.post(UPLOAD, data={"other": (io.BytesIO(b"x"), "a.csv")}).status_code == 400
    assert client.post(UPLOAD, data={"file": "text"}, content_type="multipart/form-data").status_code == 400
    assert client.post(UPLOAD, json={}).status_code == 415
    assert client.post(UPLOAD, data=b"--x\r\nnonsense", content_type="multipart/form-data").status_code == 400
    assert left_over(settings) == []
    assert claim_task(database, ["import"]) is None


def test_an_upload_past_the_limit_is_413_and_leaves_nothing(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"upload_max_mb": 1}))
    response = upload(app.test_client(), b"x" * (2 << 20))
    close_app(app)
    assert (response.status_code, response.get_json()["status"]) == (413, 413)
    assert left_over(settings) == []


@pytest.mark.process
def test_an_upload_is_never_held_in_memory(settings: Settings, database: Connection) -> None:
    """128 MB through the real server: the process does not grow by a quarter of it."""
    megabytes, head = 128, b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    tail = b"\r\n--x--\r\n"
    abandoned = settings.data_dir / "uploads" / "left.part"
    abandoned.parent.mkdir()
    abandoned.touch()
    with running_web(settings) as (port, process):
        (worker,) = psutil.Process(process.pid).children()
        before = worker.memory_info().rss
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.putrequest("POST", UPLOAD)
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(len(head) + (megabytes << 20) + len(tail)))
        connection.endheaders(head)
        for _ in range(megabytes):
            connection.send(b"x" * (1 << 20))
        connection.send(tail)
        response = connection.getresponse()
        assert response.status == 202, response.read()
        connection.close()
        assert worker.memory_info().rss - before < (megabytes << 20) / 4
    task = claim_task(database, ["import"])
    assert task is not None
    assert Path(task.params["path"]).stat().st_size == megabytes << 20
    assert not abandoned.exists()
