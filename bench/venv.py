"""The benches' own venv with other people's libraries, `.venv-bench`: made at the first need, never a dependency."""

import fcntl
import hashlib
import json
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
    """Make the venv if need be; answers of each peer that pip could not install its reason."""
    VENV.mkdir(exist_ok=True)
    with (VENV / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = VENV / "installed.json"
        wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
        if stamp.exists() and (told := json.loads(stamp.read_text()))["of"] == wanted:
            return dict(told["missing"])
        missing = _install()
        stamp.write_text(json.dumps({"of": wanted, "missing": missing}))
        return missing


def _install() -> dict[str, str]:
    lines = [line.strip() for line in REQUIREMENTS.read_text().splitlines()]
    wanted = [line.split() for line in lines if line and not line.startswith("#")]
    click.echo(f"installing {len(wanted)} peers into {VENV.name} (minutes, once)", err=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True, timeout=INSTALL_S)
    missing = {}
    for packages in wanted:
        pip = [PYTHON, "-m", "pip", "install", "-q", "--no-compile", "--prefer-binary", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *packages], capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            missing[name_of(packages[0])] = " ".join(told)[-400:] or f"pip ended with {done.returncode}"
    return missing


def name_of(requirement: str) -> str:
    """The package of a requirement.

    >>> name_of("celery[redis]>=5.4")
    'celery'
    """
    return requirement.replace("[", ">").replace("=", ">").replace("<", ">").partition(">")[0]


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
