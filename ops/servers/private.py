"""PostgreSQL and Redis of a data directory as children of this process: for tests, benches and tools."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2
import redis

from common.errors import StoreUnavailable
from ops.servers.instance import Instance, move_taken_ports

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 60.0


class PrivateServers:
    """Started on entry, stopped on exit; each can be killed and started again in between.

    The servers end with this process, whatever ends it.
    """

    def __init__(self, data_dir: Path, postgres_args: Sequence[str] = (), redis_args: Sequence[str] = (), **environ: str) -> None:
        self.data_dir = data_dir
        self._arguments = {"postgres": list(postgres_args), "redis": list(redis_args)}
        self._environ = {**os.environ, **environ, "GEMS_DATA_DIR": str(data_dir), "PYTHONPATH": str(ROOT)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.instance: Instance = move_taken_ports(data_dir)

    def __enter__(self) -> "PrivateServers":
        try:
            for name in ("postgres", "redis"):
                self.start(name, wait=False)
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def postgres_url(self, database: str = "postgres") -> str:
        """Address of a database."""
        return self.instance.postgres_url(database)

    def redis_url(self, number: int = 0) -> str:
        """Address of a Redis database number."""
        return self.instance.redis_url(number)

    def start(self, name: str, wait: bool = True) -> None:
        """Start `postgres` or `redis`."""
        command = [sys.executable, "-m", "ops.embedded", name, *self._arguments[name]]
        with (self.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            self.wait_ready()

    def kill(self, name: str) -> None:
        """kill -9 of `postgres` or `redis`."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """Stop both, cleanly; by force what does not listen."""
        for name, process in self.processes.items():
            process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_ready(self) -> None:
        """Return when every started server answers.

        Raises:
            StoreUnavailable: one has ended, or does not answer within a minute; with the end of its log.
        """
        probes: dict[str, Callable[[], Any]] = {"postgres": self._ask_postgres, "redis": self._ask_redis}
        deadline = time.monotonic() + _READY_S
        for name, process in self.processes.items():
            while not _answers(probes[name]):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise StoreUnavailable(f"{name} did not start: {self._end_of_log(name)}")
                time.sleep(0.02)

    def _ask_postgres(self) -> None:
        psycopg2.connect(self.postgres_url(), connect_timeout=5).close()

    def _ask_redis(self) -> None:
        with redis.Redis.from_url(self.redis_url(), socket_timeout=5) as client:
            client.ping()

    def _end_of_log(self, name: str) -> str:
        return (self.data_dir / f"{name}.log").read_text(errors="replace")[-2000:]


def _answers(probe: Callable[[], Any]) -> bool:
    try:
        probe()
    except (psycopg2.OperationalError, redis.RedisError):
        return False
    return True
