"""`./gems pairs list|add|remove`: which series of pair rows are kept up to date, while it runs."""

from contextlib import closing
from typing import Any

import click

from ops.commands import takes_house
from ops.commands.compute import show
from ops.house import House
from ops.pairs import METHOD_HELP, named_series

_LIST = """
SELECT symbol_pair AS pair, timeframe, window_bars AS window, method,
    CASE WHEN in_settings THEN 'settings' WHEN requested THEN 'request' ELSE 'computed' END AS origin,
    CASE WHEN {live} THEN 'live' WHEN removed_at IS NOT NULL THEN 'removed' ELSE '-' END AS state
FROM pair_series WHERE {shown} ORDER BY 1, 2, 3, 4
"""


@click.group()
def pairs() -> None:
    """Pair series that are kept up to date; a change is noticed within a second."""


@pairs.command(name="list")
@takes_house
@click.option("--all", "everything", is_flag=True, help="Also those that are not live but have rows.")
def list_(house: House, everything: bool) -> int:
    """Show the series."""
    from common.database import connect_database
    from common.pairseries import LIVE

    with closing(connect_database(house.settings(), "pairs list")) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_LIST.format(live=LIVE, shown="true" if everything else LIVE))
        rows = cursor.fetchall()
        show([column.name for column in cursor.description or ()], rows)
    return 0


@pairs.command()
@takes_house
@click.argument("pair")
@click.option("--timeframe", help="One of those that are built; without it, all of them.")
@click.option("--window", type=int, help="Bars in the rolling window; default GEMS_WINDOW.")
@click.option("--method", help=METHOD_HELP)
def add(house: House, pair: str, timeframe: str | None, window: int | None, method: str | None) -> int:
    """Keep PAIR (Y_X, or as GEMS_PAIRS has it: Y_X@METHOD:WINDOW) up to date from now on, and fill its past from stored bars."""
    from common.database import connect_database
    from common.errors import ConfigError
    from common.pairseries import add as add_series

    settings = house.settings()
    pair, window, method = _asked(pair, window, method)
    if timeframe is not None and timeframe not in settings.timeframes:
        raise ConfigError(f"--timeframe: must be one that is built ({', '.join(settings.timeframes)}), was {timeframe!r}")
    with closing(connect_database(settings, "pairs add")) as connection:
        for each in [timeframe] if timeframe else settings.timeframes:
            series = named_series(connection, settings, pair, each, window, method)
            with connection, connection.cursor() as cursor:
                try:
                    task_id = add_series(cursor, series)
                except ValueError as exc:
                    raise ConfigError(str(exc)) from exc
            told = f"added; task {task_id} fills its past" if task_id else "was live already"
            click.echo(f"{_name(series.key)}: {told}")
    return 0


@pairs.command()
@takes_house
@click.argument("pair")
@click.option("--timeframe", help="Only this one.")
@click.option("--window", type=int, help="Only this one.")
@click.option("--method", help="Only this one.")
def remove(house: House, pair: str, timeframe: str | None, window: int | None, method: str | None) -> int:
    """Make no more rows of PAIR; those it has stay."""
    from common.database import connect_database
    from common.pairseries import remove as remove_series

    pair, window, method = _asked(pair, window, method)
    filters = {"timeframe": timeframe, "window_bars": window, "method": method}
    with closing(connect_database(house.settings(), "pairs remove")) as connection, connection, connection.cursor() as cursor:
        gone = remove_series(cursor, pair, {name: value for name, value in filters.items() if value is not None})
    for key in gone:
        click.echo(f"{_name(key)}: removed; its rows stay")
    if not gone:
        click.secho(f"no live series of {pair}", fg="red", err=True)
    return 0 if gone else 1


def _asked(text: str, window: int | None, method: str | None) -> tuple[str, int | None, str | None]:
    """Name, window and method of PAIR; options win over what stands in it.

    Raises:
        ConfigError: what follows its @ can not be.
    """
    from common.errors import ConfigError
    from common.pairspec import PairSpec

    name, at, rest = text.partition("@")
    try:
        spec = PairSpec.parse(f"{name.upper()}{at}{rest.lower()}")
    except ValueError as exc:
        raise ConfigError(f"PAIR: {exc}") from exc
    return spec.pair, window or spec.window, method or (spec.method if at else None)


def _name(key: Any) -> str:
    return f"{key.pair} {key.timeframe} {key.method} over {key.window}"
