"""Processes that a bench starts beside the core of the house: the exchange, the producer, the web, peers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from ops.house import ROOT

DEADLINE_S = 300.0


@contextmanager
def running(*command: str, environ: Mapping[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -m COMMAND` with these settings and no others, its log in the folder; asked to end at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GEMS_")} | dict(environ)
    with (folder / f"{command[0]}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=own, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(url: str) -> bool:
    """True once a GET is answered with 200."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=5.0).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def wait(reached: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until true.

    Raises:
        TimeoutError: it has not come to be in time.
    """
    until_s = time.monotonic() + deadline_s
    while not reached():
        if time.monotonic() > until_s:
            raise TimeoutError(f"no {what} after {deadline_s:g} s")
        time.sleep(0.02)
