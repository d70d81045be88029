"""`./gems down`: stop everything of an instance."""

import click

from ops.commands import takes_house
from ops.house import House


@click.command()
@takes_house
def down(house: House) -> None:
    """Stop everything, in the order of the data; nothing stays behind."""
    from ops.shutdown import shut_down

    if shut_down(house, lambda line: click.echo(f"  {line}")):
        click.echo(f"Stopped. All data is still in {house}; ./gems up{house.option} goes on with it.")
    else:
        click.echo(f"Nothing is running in {house}.")
