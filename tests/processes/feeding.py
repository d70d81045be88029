"""A whole way for tests: a simulated exchange, real producers, writers, aggregator and tasks."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from common.settings import Settings
from tests.exchange.running import RunningExchange
from tests.processes.house import wait_until

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0


class RunningProducer:
    """`python -m producer`; can be killed and started again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._log = settings.data_dir / "producer.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it waits for what it needs by itself."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GEMS_")} | self.settings.to_env()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "producer"], cwd=ROOT, env=env, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()


def feed_settings(settings: Settings, exchange: RunningExchange, **more: Any) -> Settings:
    """For a producer on that exchange."""
    given = {"sim_port": exchange.port, "pairs": (), "history": "3s", "stale_after_s": 5.0}
    return settings.model_copy(update=given | more)


@contextmanager
def producing(settings: Settings) -> Iterator[RunningProducer]:
    """A producer that is gone at the end."""
    running = RunningProducer(settings)
    running.start()
    try:
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What the condition answers once it is true."""
    return wait_until(condition, deadline_s, what)


def fact(client: redis.Redis, name: str) -> int:
    """A number that the producer last told about itself."""
    return int(client.hget("health:producer", name) or 0)
