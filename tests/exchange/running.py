"""A simulated exchange as the process that it is, and a client of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3
import websocket

from ops.servers.instance import free_port

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


class RunningExchange:
    """`python -m ops.exchange` in a folder of its own; started again it is the same exchange."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.port = free_port()  # none of those that clients get: one that retries could be connected to itself
        given = {"data_dir": data_dir, "sim_port": self.port, "history": "0"} | settings
        self._env = {f"GEMS_{name.upper()}": str(value) for name, value in given.items()}
        self._log = data_dir / "exchange.log"
        self._http = urllib3.PoolManager(retries=False)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GEMS_")} | self._env
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "ops.exchange"], cwd=ROOT, env=env, stderr=log)
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            assert self.process.poll() is None, self.log()
            with suppress(urllib3.exceptions.HTTPError):
                self.get("/api/v3/ping")
                return
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def request(self, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
        """GET, with header names written with underscores."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return self._http.request("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Any:
        """The JSON of a GET."""
        return self.request(path, **headers).json()

    def post(self, path: str, body: object = None) -> Any:
        """The JSON of a POST."""
        answer = self._http.request("POST", f"http://127.0.0.1:{self.port}{path}", body=json.dumps(body or {}))
        return answer.json()

    def history(self, path: str, id_field: str, from_id: int, to_id: int) -> list[dict[str, Any]]:
        """All rows with ids `[from_id, to_id]`, fetched page by page, times in microseconds."""
        rows: list[dict[str, Any]] = []
        while from_id <= to_id:
            page = self.get(f"{path}&fromId={from_id}&limit=1000", X_MBX_TIME_UNIT="MICROSECOND")
            assert page, f"nothing from {from_id} on"
            rows += page
            from_id = page[-1][id_field] + 1
        return [row for row in rows if row[id_field] <= to_id]

    @contextmanager
    def connected(self, path: str) -> Iterator[websocket.WebSocket]:
        """A WebSocket client."""
        client = websocket.create_connection(f"ws://127.0.0.1:{self.port}{path}", timeout=DEADLINE_S, skip_utf8_validation=True)
        try:
            yield client
        finally:
            client.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def running_exchange(data_dir: Path, **settings: object) -> Iterator[RunningExchange]:
    """An exchange that is running, and gone at the end."""
    exchange = RunningExchange(data_dir, **settings)
    exchange.start()
    try:
        yield exchange
    finally:
        if exchange.process is not None and exchange.process.poll() is None:
            exchange.process.kill()
            exchange.process.wait()


def ask(client: websocket.WebSocket, method: str, params: list[Any] | None, request_id: int) -> Any:
    """Send a request and give its answer; what comes between is passed over."""
    client.send(json.dumps({"method": method, "id": request_id} | ({} if params is None else {"params": params})))
    while True:
        answer = json.loads(client.recv())
        if "id" in answer or "code" in answer:
            return answer


def events(client: websocket.WebSocket, count: int) -> list[dict[str, Any]]:
    """The next `count` events of a raw stream."""
    return [json.loads(client.recv()) for _ in range(count)]


def until_closed(client: websocket.WebSocket) -> list[str]:
    """All texts until the server ends the connection."""
    texts: list[str] = []
    with suppress(websocket.WebSocketConnectionClosedException, ConnectionError):
        while text := client.recv():
            texts.append(str(text))
    return texts
