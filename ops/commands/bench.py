"""`./gems bench`: what is fast, measured on private servers."""

import subprocess
import sys

import click

from ops.house import ROOT


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("which", type=click.Choice(["pipeline", "websocket", "pairs", "alerts"]), default="pipeline")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(which: str, arguments: tuple[str, ...]) -> int:
    """Run bench/WHICH.py; what follows goes to it (--json; --help tells the rest)."""
    return subprocess.run([sys.executable, "-m", f"bench.{which}", *arguments], cwd=ROOT, check=False).returncode
