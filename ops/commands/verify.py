"""`./gems verify`: do laws 1 to 3 hold on this instance's rows? It runs on while it is asked."""

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING

import click

from common.errors import ConfigError, StoreUnavailable
from ops.commands import takes_house
from ops.house import House

if TYPE_CHECKING:
    from ops.verify.report import Report
    from ops.verify.scope import Asked


class _Verify(click.Command):
    """Bad arguments end with the code of a wrong setting: 1 means that a law is broken."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as exc:
            raise ConfigError(exc.format_message()) from exc


def stamp(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Microseconds of a UTC day or an ISO 8601 stamp."""
    from common.codec import parse_iso_us
    from common.errors import InvalidTrade

    if value is None:
        return None
    text = f"{value}T00:00:00Z" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else value
    try:
        return parse_iso_us(text)
    except InvalidTrade as exc:
        option = parameter.opts[0]
        raise ConfigError(f"{option}: {value!r} is no day such as 2026-11-23 and no ISO 8601 stamp with its zone") from exc


@click.command(cls=_Verify)
@takes_house
@click.option("--from", "from_us", callback=stamp, help="First UTC day, 2026-11-23 or a stamp in it.")
@click.option("--to", "to_us", callback=stamp, help="End, not included; a day that it cuts is checked whole.")
@click.option("--symbol", help="This symbol only.")
@click.option("--deep", is_flag=True, help="Pair rows too, again from the bars.")
@click.option("--repair", "mend", is_flag=True, help="Rebuild what is wrong, record what is missing as gaps, then verify again.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
def verify(
    house: House, from_us: int | None, to_us: int | None, symbol: str | None, deep: bool, mend: bool, as_json: bool
) -> int:
    """Check that nothing is lost, nothing is stored twice, and bars are what the ticks say.

    Ends with 0 if laws 1 to 3 hold, 1 if not. Bars that are not closed yet are left out.
    """
    import psycopg2
    import redis

    from common.settings import SYMBOL_PATTERN
    from ops.verify.scope import asked_days

    if symbol is not None and not SYMBOL_PATTERN.fullmatch(symbol):
        raise ConfigError(f"--symbol: {symbol!r} is not a symbol (upper case, at most 40 of A-Z 0-9 : . _ -)")
    if from_us is not None and to_us is not None and to_us <= from_us:
        raise ConfigError("--to: must be after --from")
    try:
        reports = _run(house, asked_days(from_us, to_us, symbol), deep, mend, as_json)
    except (psycopg2.OperationalError, redis.RedisError) as exc:
        first_line = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise StoreUnavailable(f"verify needs PostgreSQL and Redis of {house}: {first_line}") from exc
    if as_json:
        before = {"before_repair": reports[0].as_json()} if reports[1:] else {}
        click.echo(json.dumps({**reports[-1].as_json(), **before}, indent=1))
    return 1 if reports[-1].found else 0


def _run(house: House, asked: "Asked", deep: bool, mend: bool, quiet: bool) -> "list[Report]":
    """The report, and with a repair a second one after it."""
    from common.database import connect_database
    from common.streams import connect_redis
    from ops.verify.repair import repair
    from ops.verify.run import Verifier
    from ops.verify.screen import Screen

    settings, reports = house.settings(), []
    with closing(connect_redis(settings)) as client, Screen(quiet) as screen:
        while True:
            with closing(connect_database(settings, "verify")) as connection:
                verifier = Verifier(settings, client, connection, asked, screen.tell)
                reports.append(verifier.run(deep))
            screen.show(reports[-1])
            if not mend or not reports[-1].found or reports[1:]:
                return reports
            with closing(connect_database(settings, "verify repair")) as connection:
                repair(settings, connection, verifier.damage, screen.tell)
