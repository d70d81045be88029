"""`./gems logs`: what the processes of an instance say."""

import os
import shutil

import click

from ops.commands import takes_house
from ops.house import House


@click.command()
@takes_house
@click.argument("program", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what comes.")
@click.option("-n", "--lines", type=int, default=50, show_default=True, help="Lines of each log.")
def logs(house: House, program: str | None, follow: bool, lines: int) -> None:
    """Show the logs of all processes, or of PROGRAM: a process (writer_0) or all of a kind (writer)."""
    found = sorted(house.logs.glob("*.log"))
    chosen = [path for path in found if program is None or path.stem == program or path.stem.rpartition("_")[0] == program]
    if not found:
        raise click.ClickException(f"Nothing was ever started in {house}; start it with ./gems up{house.option}")
    if not chosen:
        raise click.ClickException(f"There is no log of {program!r}; there are {', '.join(path.stem for path in found)}")
    tail = shutil.which("tail")
    if tail is None:
        raise click.ClickException(f"There is no `tail` on this machine; the logs are the files {house.logs}/*.log")
    os.execv(tail, ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, chosen)])
