"""`./gems`: one command a file in ops/commands/, imported when it is called, so that every command starts quickly."""

import importlib
import sys
from keyword import iskeyword
from typing import NoReturn

import click

from common.errors import ConfigError, GemsError
from common.lifecycle import EXIT_CONFIG

#: Command -> the sentence in `./gems --help`; its function has the same name in ops/commands/<name with _>.py (import: import_).
COMMANDS = {
    "up": "Start everything, and stay until Ctrl-C (or -d: go on in the background).",
    "down": "Stop everything, in the order of the data.",
    "status": "Processes, rate, lag, pending, gaps, dead letters.",
    "logs": "Show what the processes say; -f goes on showing.",
    "import": "Import files of trades: Binance archives, CSV, NDJSON; with a progress bar.",
    "psql": "A psql on the instance's database; what follows -- goes to psql.",
    "redis-cli": "A redis-cli on the instance's Redis; what follows -- goes to redis-cli.",
    "compute": "Compute spreads or price statistics over stored bars, by hand.",
    "pairs": "Pair series that are kept up to date: list, add, remove.",
    "keys": "Keys of the API, for other machines: add, list, revoke.",
    "scan": "Rank all pairs of the symbols: cointegration, half-life, z-score, correlations.",
    "recompute": "Pair rows again from stored bars; --check compares them with the rows made live.",
    "bars": "Rebuild bars from ticks, by hand.",
    "verify": "Check that nothing is lost or doubled and bars are what the ticks say; --repair mends.",
    "dead-letters": "What could not be stored, and why: list, replay, drop.",
    "bench": "Measure on private servers, beside ceilings of the same run.",
    "chaos": "Faults at random moments on a private instance, and the proof that nothing was lost.",
    "check": "ruff, mypy and the import contracts.",
    "test": "check, then all tests against real servers; arguments go to pytest.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_") + ("_" if iskeyword(cmd_name) else "")
        command: click.Command = getattr(importlib.import_module(f"ops.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def gems() -> None:
    """GEMS: live trades into ticks, bars, pair spreads and alerts."""


def main() -> NoReturn:
    """Run a command; an error that GEMS foresees is a sentence, not a traceback."""
    try:
        code = gems.main(prog_name="./gems", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except GemsError as exc:
        click.echo(f"gems: {exc}", err=True)
        sys.exit(EXIT_CONFIG if isinstance(exc, ConfigError) else 1)
    sys.exit(code if isinstance(code, int) else 0)
