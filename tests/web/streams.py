"""A real web under gunicorn, and a reader of its server-sent events."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from common.settings import Settings
from ops.servers.instance import free_port

ROOT = Path(__file__).parents[2]


class Event(NamedTuple):
    """One event as it came; a comment has the name `:`."""

    name: str
    id: str
    text: str


class Reader:
    """One client of `/api/stream`."""

    def __init__(self, port: int, query: str = "", last_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", f"/api/stream{query}", headers={"Last-Event-ID": last_id} if last_id else {})
        self.response = self._connection.getresponse()
        self.last_id = last_id or ""
        self._socket = self._connection.sock

    def events(self) -> Iterator[Event]:
        """Events until the server ends the stream."""
        name, lines, comment = "", [], False
        while line := self.response.readline():
            key, _, value = line.decode().rstrip("\n").partition(":")
            comment = comment or (key == "" and bool(value))
            if key == "id":
                self.last_id = value.strip()
            elif key == "event":
                name = value.strip()
            elif key == "data":
                lines.append(value.strip())
            elif not line.strip():
                if lines or comment:
                    yield Event(":" if comment else name, self.last_id, "\n".join(lines))
                name, lines, comment = "", [], False

    def take(self, count: int) -> list[Event]:
        """The next events; a heartbeat is none."""
        events = (event for event in self.events() if event.name != ":")
        return [next(events) for _ in range(count)]

    def close(self) -> None:
        """Go away without a word."""
        self.response.close()
        self._connection.close()


@contextmanager
def running_web(settings: Settings) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """gunicorn as it is started in earnest, on a free port; yields the port and the process."""
    port = free_port()
    environ = {**os.environ, **settings.model_copy(update={"port": port}).to_env(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", "--no-control-socket", "web.wsgi:app"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ)
    try:
        _wait_answers(port, process)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the web ended at its start"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().read() == b"ok\n":
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise AssertionError("the web did not answer within a minute")
