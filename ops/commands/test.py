"""`./gems test`: everything that CI runs."""

import os
import sys

import click

from ops.chromium import chromium_here, install_chromium
from ops.commands.check import check
from ops.house import ROOT

#: Side by side on two cores; `-n 0` runs them one after the other.
WORKERS = "3"
_DASHBOARD = "tests/browser"


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--siege", is_flag=True, help="Also the minutes of chaos.")
@click.option("--fast", is_flag=True, help="Leave out the tests that start and kill whole processes.")
@click.option("--browser", is_flag=True, help="The tests of the dashboard alone; root has Chromium installed for them.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def test(ctx: click.Context, siege: bool, fast: bool, browser: bool, arguments: tuple[str, ...]) -> int:
    """Run check, then pytest with ARGUMENTS.

    Without Chromium the tests of the dashboard are skipped, and the summary says so. Where CI=true is set, root has it
    installed first; --browser does that anywhere, and fails if there is none then.
    """
    if browser and fast:
        raise click.UsageError("--fast leaves out what --browser asks for")
    if not fast:
        _look_for_chromium(browser)
    if ctx.invoke(check):
        raise click.ClickException("the checks above failed; the tests were not run")
    click.secho("-- pytest", bold=True)
    sys.stdout.flush()
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    chosen = [*_chosen(siege, fast, arguments), *([_DASHBOARD] if browser else [])]
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-rs", *chosen, *arguments])


def _chosen(siege: bool, fast: bool, arguments: tuple[str, ...]) -> list[str]:
    chosen = ["-m", "not process and not browser"] if fast else [] if siege else ["-m", "not siege"]
    if not any(argument.startswith("-n") for argument in arguments):
        chosen += ["-n", WORKERS, "--dist", "loadfile"]  # most tests wait for processes; a file's tests share its servers
    return chosen


def _look_for_chromium(asked_for: bool) -> None:
    """Have it installed where that is wanted; a machine of CI without packages skips, for that is no fault of a change."""
    if chromium_here():
        return
    why = "`./gems test --browser` as root installs it"
    if asked_for or os.environ.get("CI") == "true":
        click.secho("-- installing Chromium", bold=True)
        failed = install_chromium()
        if failed is None:
            return
        why = failed
    if asked_for:
        raise click.ClickException(f"no Chromium for the tests of the dashboard: {why}")
    click.secho(f"-- no Chromium: the tests of the dashboard are skipped ({why})", fg="yellow", bold=True)
