"""`./gems check`: what can be said about the code without running it."""

import os
import subprocess
import sys
from pathlib import Path

import click

from ops.house import ROOT

_PACKAGES = ("common", "producer", "consumer", "aggregator", "web", "ops", "gems_client.py")
#: Program of the venv -> its arguments.
_CHECKS = {
    "ruff": ("check", "."),
    "mypy": _PACKAGES,
    "lint-imports": (),
}


@click.command()
def check() -> int:
    """ruff, mypy and the import contracts; all three run, whatever the first says."""
    return max(_run(program, arguments) for program, arguments in _CHECKS.items())


def _run(program: str, arguments: tuple[str, ...]) -> int:
    click.secho(f"-- {program} {' '.join(arguments)}", bold=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return 1 if subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=ROOT, env=environ).returncode else 0
