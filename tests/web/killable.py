"""A real web on one port that is killed and started again, as a supervisor would."""

import http.client
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

from common.settings import Settings
from ops.house import ROOT
from ops.servers.instance import free_port


class KillableWeb:
    """gunicorn as it is started in earnest; a context manager that leaves nothing running."""

    def __init__(self, settings: Settings, *arguments: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = {**os.environ, **settings.model_copy(update={"port": self.port}).to_env(), "PYTHONPATH": str(ROOT)}
        self._arguments = ("--no-control-socket", *arguments)

    def __enter__(self) -> "KillableWeb":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn.conf.py", *self._arguments, "web.wsgi:app"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environ, start_new_session=True)
        until_s = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, "the web ended at its start"
            assert time.monotonic() < until_s, "the web did not answer within a minute"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of gunicorn and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def _answers(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().read() == b"ok\n"
            except OSError:
                return False
