"""`./gems keys add|list|revoke`: who may use the API where `GEMS_API_KEYS=on`."""

from contextlib import closing
from datetime import datetime
from typing import Any

import click

from ops.commands import takes_house
from ops.commands.compute import show
from ops.house import House


@click.group()
def keys() -> None:
    """Keys of the API; a change is noticed within seconds. They count where GEMS_API_KEYS=on."""


@keys.command()
@takes_house
@click.argument("name")
@click.option("--scope", type=click.Choice(("read", "write", "admin")), required=True, help="Each may do what those before may.")
def add(house: House, name: str, scope: str) -> int:
    """Make a key called NAME and print it: this once, it is not stored."""
    from common.apikeys import add_key
    from common.database import connect_database

    with closing(connect_database(house.settings(), "keys add")) as connection:
        key = add_key(connection, name, scope)
    click.echo(f"{name} may {scope}; its key is shown this once:", err=True)
    click.echo(key)
    return 0


@keys.command(name="list")
@takes_house
@click.option("--all", "everything", is_flag=True, help="Also those that are revoked.")
def list_(house: House, everything: bool) -> int:
    """Show names, scopes, first characters, and when they were made and last used."""
    from common.apikeys import list_keys
    from common.database import connect_database

    with closing(connect_database(house.settings(), "keys list")) as connection:
        names, rows = list_keys(connection, everything)
    if not rows:
        click.echo("There are no keys; ./gems keys add NAME --scope read makes one.")
        return 0
    show(names, [[_with_day(value) for value in row] for row in rows])
    return 0


@keys.command()
@takes_house
@click.argument("name")
def revoke(house: House, name: str) -> int:
    """End the key called NAME (or with these first characters): it opens nothing from a few seconds on."""
    from common.apikeys import revoke_key
    from common.database import connect_database

    with closing(connect_database(house.settings(), "keys revoke")) as connection:
        gone = revoke_key(connection, name)
    if gone is None:
        click.secho(f"no living key is called {name}", fg="red", err=True)
        return 1
    click.echo(f"{gone}: revoked; it opens nothing from a few seconds on")
    return 0


def _with_day(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value
