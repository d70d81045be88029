"""The benches' own venv with other people's libraries, `.venv-bench`: made at the first need, never a dependency."""

import fcntl
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ops.house import ROOT

VENV = ROOT / ".venv-bench"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "bench" / "peer" / "requirements.txt"
INSTALL_S = 900
RUN_S = 600


class NoPeer(Exception):
    """A peer that could not be had, and why."""


def ensure_peers() -> dict[str, str]:
    """Make the venv if need be; answers of each peer that can not be had its reason. What failed is tried again each time."""
    try:
        VENV.mkdir(exist_ok=True)
        with (VENV / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stamp = VENV / "installed"
            wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
            if stamp.exists() and stamp.read_text() == wanted:
                return {}
            missing = _install()
            if not missing:
                stamp.write_text(wanted)
            return missing
    except OSError as exc:
        return dict.fromkeys(map(name_of, _lines()), f"{VENV} can not be made: {exc}")


def _lines() -> list[str]:
    lines = [line.strip() for line in REQUIREMENTS.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _install() -> dict[str, str]:
    click.echo(f"installing {len(_lines())} peers into {VENV.name} (a minute or two, once)", err=True)
    why = _run([sys.executable, "-m", "venv", str(VENV)])
    if why:
        return dict.fromkeys(map(name_of, _lines()), why)
    pip = [str(PYTHON), "-m", "pip", "install", "-q", "--no-compile", "--prefer-binary", "--disable-pip-version-check"]
    told = {name_of(line): _run([*pip, "--retries", "1", *line.split()]) for line in _lines()}
    return {name: why for name, why in told.items() if why}


def _run(command: list[str]) -> str:
    """Run it; why it failed, or nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {INSTALL_S} s"
    if not done.returncode:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return " ".join(errors or (done.stderr + done.stdout).split())[-400:] or f"{command[2]} ended with {done.returncode}"


def name_of(requirement: str) -> str:
    """The first package of a line.

    >>> name_of("celery[redis]>=5.4 django>=5.2")
    'celery'
    """
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


class Peer:
    """A program of `bench/peer/` that is ready; `go` lets it work."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process, self.pid = process, process.pid

    def go(self) -> dict[str, Any]:
        """What it found.

        Raises:
            NoPeer: it failed; with the end of what it said.
        """
        said, told = self._process.communicate("go\n", timeout=RUN_S)
        if self._process.returncode:
            raise NoPeer(" ".join(told.split())[-400:])
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found


@contextmanager
def a_peer(program: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Peer]:
    """`bench/peer/PROGRAM.py` in its venv, once it is ready; gone at the end.

    Raises:
        NoPeer: it could not be started; with the end of what it said.
    """
    command = [str(PYTHON), str(ROOT / "bench" / "peer" / f"{program}.py"), *arguments]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=dict(environ or {}), text=True, cwd=Path("/"), **pipes) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise NoPeer(" ".join(process.communicate(timeout=RUN_S)[1].split())[-400:])
            yield Peer(process)
        finally:
            process.kill()
