"""`./gems up`: start everything of an instance."""

from typing import Any

import click

from common.settings import Settings
from ops.commands import takes_house
from ops.house import House


@click.command()
@takes_house
@click.option("--port", type=int, help="Port of the dashboard and the API (GEMS_PORT; default 8000).")
@click.option("--host", help="Address to listen on (GEMS_HOST; default 127.0.0.1).")
@click.option("--feed", type=click.Choice(["sim", "binance"]), help="Where trades come from (GEMS_FEED; default sim).")
@click.option("--symbols", help="Symbols, with commas (GEMS_SYMBOLS).")
@click.option("--pairs", help="Pairs Y_X, with commas (GEMS_PAIRS).")
@click.option("--timeframes", help="Bars to build, with commas (GEMS_TIMEFRAMES).")
@click.option("--history", help="How far back the first start fetches, as 10m or 6h (GEMS_HISTORY).")
@click.option("-d", "--detach", is_flag=True, help="Return when the routes answer; ./gems down stops it.")
def up(house: House, detach: bool, **given: Any) -> int:
    """Start PostgreSQL, Redis, the feed, the pipeline and the dashboard.

    Every option is also a GEMS_* variable, and there are more of those than options (README).
    """
    from ops.startup import start

    settings = Settings.from_env(
        **{name: value for name, value in given.items() if value is not None}, data_dir=house.data_dir
    )
    return start(house, settings, detach)
