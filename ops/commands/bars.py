"""`./gems bars rebuild`: a symbol's closed bars again from its ticks."""

import click

from ops.commands import takes_house
from ops.house import House


@click.group()
def bars() -> None:
    """Bars of an instance."""


@bars.command()
@takes_house
@click.option("--symbol", required=True)
@click.option("--timeframe", default="1s", show_default=True)
def rebuild(house: House, symbol: str, timeframe: str) -> int:
    """Rebuild every closed bar from the ticks, newest day first; a `revision` rises only where a value changes."""
    from common.database import connect_database
    from common.tasks import create_task
    from ops.follow import follow

    connection = connect_database(house.settings(), "bars rebuild")
    try:
        task_id = create_task(connection, "bars", {"symbol": symbol, "timeframe": timeframe})
        last = follow(connection, task_id, f"{symbol} {timeframe}", "tasks", "bars_changed")
    finally:
        connection.close()
    if last.state == "failed":
        click.secho(f"bars rebuild: {last.error}", fg="red", err=True)
        return 1
    click.echo(f"looked at {last.counts.get('days', 0):,} days; {last.counts.get('bars_changed', 0):,} bars were new or changed")
    return 0
