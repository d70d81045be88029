"""`./gems test`: everything that CI runs."""

import os
import sys

import click

from ops.commands.check import check
from ops.house import ROOT

#: Side by side on two cores; `-n 0` runs them one after the other.
WORKERS = "3"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--siege", is_flag=True, help="Also the minutes of chaos.")
@click.option("--fast", is_flag=True, help="Leave out the tests that start and kill whole processes.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def test(ctx: click.Context, siege: bool, fast: bool, arguments: tuple[str, ...]) -> int:
    """Run check, then pytest with ARGUMENTS."""
    checked = ctx.invoke(check)
    if checked:
        raise click.ClickException("the checks above failed; the tests were not run")
    click.secho("-- pytest", bold=True)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    chosen = ["-m", "not process and not browser"] if fast else [] if siege else ["-m", "not siege"]
    if not any(argument.startswith("-n") for argument in arguments):
        chosen += ["-n", WORKERS, "--dist", "loadfile"]  # most tests wait for processes; a file's tests share its servers
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *chosen, *arguments])
