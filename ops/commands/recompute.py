"""`./gems recompute`: pair rows again from stored bars; `--check` says whether the rows made live are those."""

from contextlib import closing
from typing import Any

import click

from ops.commands import takes_house
from ops.commands.verify import stamp
from ops.house import House
from ops.pairs import series_options

_KNOWN = """
SELECT symbol_pair, timeframe, window_bars, method, symbols FROM pair_series
WHERE symbol_pair = coalesce(%s, symbol_pair) AND timeframe = coalesce(%s, timeframe)
    AND window_bars = coalesce(%s, window_bars) AND method = coalesce(%s, method) ORDER BY 1, 2, 3, 4
"""
_SHOWN = 3


@click.command()
@takes_house
@series_options
@click.option("--from", "from_us", callback=stamp, help="First UTC day, 2026-11-23, or a stamp.")
@click.option("--to", "to_us", callback=stamp, help="End, not included.")
@click.option("--check", is_flag=True, help="Compare alone: nothing is written.")
def recompute(
    house: House, pair: str | None, timeframe: str | None, window: int | None, method: str | None, from_us: int | None,
    to_us: int | None, check: bool,
) -> int:  # fmt: skip
    """Compute pair rows again from stored bars, of all series or of those that the options name.

    A row that comes out other than it is stored (beyond 1e-12) is revised: the old one stays as a revision. With --check nothing
    is written, and the exit code is 1 if a row is other.
    """
    from common.database import connect_database
    from common.pairseries import task_params
    from common.tasks import create_task
    from ops.follow import follow

    span = {name: value for name, value in (("start_us", from_us), ("end_us", to_us)) if value is not None}
    more: dict[str, Any] = {**span, "check": True} if check else span
    changed = 0
    with closing(connect_database(house.settings(), "recompute")) as connection:
        for series in _series(connection, house, pair, timeframe, window, method):
            key = series.key
            name = f"{key.pair} {key.timeframe} {key.method} over {key.window}"
            last = follow(connection, create_task(connection, "spread", task_params(series, **more)), name, "tasks", "rows")
            if last.state == "failed":
                click.secho(f"recompute: {name}: {last.error}", fg="red", err=True)
                return 1
            changed += last.counts["changed"]
            told = "other" if check else "new or revised"
            click.echo(f"{name}: {last.counts['rows']:,} rows, {last.counts['changed']:,} {told}")
            for example in last.counts.get("examples", ())[:_SHOWN]:
                click.echo(f"  {example}")
    return 1 if check and changed else 0


def _series(
    connection: Any, house: House, pair: str | None, timeframe: str | None, window: int | None, method: str | None
) -> Any:
    """The series in the registry that the options name; one that is named in full need not be there."""
    from common.errors import ConfigError
    from common.pairseries import Series, SeriesKey
    from ops.pairs import named_series

    with connection, connection.cursor() as cursor:
        cursor.execute(_KNOWN, (pair and pair.upper(), timeframe, window, method))
        found = [Series(SeriesKey(*row[:4]), tuple(row[4])) for row in cursor.fetchall()]
    if found:
        return found
    if pair and timeframe:
        return [named_series(connection, house.settings(), pair, timeframe, window, method)]
    raise ConfigError("no series of that name has rows; ./gems pairs list --all shows those that have")
