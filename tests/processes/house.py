"""Whole instances for tests: `./gems` as a person calls it, on free ports and a temporary data directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ops.house import ROOT, House
from ops.servers.instance import free_port
from tests.servers import a_folder


class Instance:
    """One data directory and its commands."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self.data_dir, self.port = data_dir, free_port()
        self.house = House(data_dir)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GEMS_")},
            "PYTHONPATH": str(ROOT),
            "GEMS_PORT": str(self.port),
            "GEMS_SIM_PORT": str(free_port()),
            "GEMS_HISTORY": "0",
            **environ,
        }

    @property
    def url(self) -> str:
        """Where its web answers."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, name: str, *arguments: str) -> list[str]:
        """A `./gems` command of this instance, without the launcher."""
        return [sys.executable, "-P", "-m", "ops", name, "--data-dir", str(self.data_dir), *arguments]

    def run(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command from another folder; all it prints is in `stdout`."""
        return subprocess.run(
            self.command(name, *arguments),
            cwd="/",
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )

    def up(self) -> None:
        """Start it in the background."""
        done = self.run("up", "-d")
        assert done.returncode == 0, done.stdout

    def status(self) -> dict[str, Any]:
        """What `status --json` tells; a server that is away is told in it."""
        done = self.run("status", "--json")
        assert done.stdout.startswith("{"), done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def processes(self) -> dict[str, dict[str, Any]]:
        """By name, as `status` tells them."""
        return {process["name"]: process for process in self.status()["processes"]}


@contextmanager
def an_instance(**environ: str) -> Iterator[Instance]:
    """An instance that is not started yet; whatever runs of it at the end is stopped."""
    with a_folder() as folder:
        instance = Instance(folder, **environ)
        try:
            yield instance
        finally:
            instance.run("down")


def wait_until(reached: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """What `reached` answers once it is true; fails with `what` when the time is over."""
    began_s = time.monotonic()
    asked_s = began_s
    while not (answer := reached()):
        now_s = time.monotonic()
        assert now_s < began_s + deadline_s, f"after {deadline_s} s there was still no {what}"
        time.sleep(max(0.1, 2 * (now_s - asked_s)))  # a command that is asked without a pause keeps a core from what it waits for
        asked_s = time.monotonic()
    return answer


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
