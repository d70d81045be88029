"""`./gems chaos`: faults at random moments on a private instance, and the proof that the laws held."""

import json
import time
from pathlib import Path

import click


@click.command()
@click.option("--minutes", default=5.0, show_default=True, type=click.FloatRange(0.2, 24 * 60), help="How long faults happen.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same faults at the same moments.")
@click.option("--rate", default=2000.0, show_default=True, type=click.FloatRange(1, 50_000), help="Trades a second.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.option("--keep-logs", type=click.Path(file_okay=False, path_type=Path), help="Copy the processes' logs to this folder.")
def chaos(minutes: float, seed: int, rate: float, as_json: bool, keep_logs: Path | None) -> int:
    """Kill, freeze, cut, fill and wipe everything of a private instance, then compare every trade and bar.

    Exit code 0: nothing lost, nothing doubled, no bar wrong, all at rest.
    """
    from rich.console import Console

    from ops.chaos.promises import Ledger
    from ops.chaos.report import show
    from ops.chaos.run import run
    from ops.chaos.world import private_world
    from ops.steps import Steps
    from ops.watch import asked_to_stop

    steps, began_s = Steps(Console(highlight=False, stderr=True)), time.monotonic()
    with asked_to_stop(), private_world(rate, seed, steps) as world:
        try:
            outcome = run(world, Ledger(), seed, minutes * 60, steps.say)
        finally:
            if keep_logs:
                world.keep_logs(keep_logs)
        steps.say(f"done after {(time.monotonic() - began_s) / 60:.1f} minutes")
    if as_json:
        click.echo(json.dumps(outcome.as_json(), indent=1))
    else:
        show(outcome, Console(highlight=False))
    return 0 if outcome.holds else 1
