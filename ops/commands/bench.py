"""`./gems bench`: what is fast, measured on private servers."""

import subprocess
import sys

import click

from ops.house import ROOT

WHICH = ("pipeline", "websocket", "latency", "bars", "pairs", "web", "reads", "growth", "alerts", "peers", "all")


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("which", type=click.Choice(WHICH), default="pipeline")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(which: str, arguments: tuple[str, ...]) -> int:
    """Run bench/WHICH.py, or all of them; what follows goes to it (--json; --help tells the rest)."""
    module = "everything" if which == "all" else which
    return subprocess.run([sys.executable, "-m", f"bench.{module}", *arguments], cwd=ROOT, check=False).returncode
