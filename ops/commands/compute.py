"""`./gems compute spread|stats`: pair rows and price statistics over stored bars, by hand."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ops.commands import takes_house
from ops.commands.verify import stamp
from ops.house import House
from ops.pairs import METHOD_HELP

_SPREAD = """
SELECT timestamp, symbol1_price, symbol2_price, hedge_ratio, spread, z_score, correlation, adf_pvalue, is_cointegrated
FROM spread_analytics WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s
    AND timestamp >= %s AND timestamp < %s
ORDER BY timestamp DESC LIMIT 10
"""
_STATS = """
SELECT timestamp, returns, volatility, realised_volatility, volume_ma, price_change_pct, high_low_range, vwap,
    taker_imbalance, atr, drawdown FROM price_stats
WHERE symbol = %s AND timeframe = %s AND window_bars = %s AND timestamp >= %s AND timestamp < %s ORDER BY timestamp DESC LIMIT 10
"""
#: Ends of the range where none is given.
_ENDS = (("start_us", "-infinity"), ("end_us", "infinity"))


@click.group()
def compute() -> None:
    """Compute over stored bars, as the API's compute routes do, and show the newest rows of what was computed."""


@compute.command()
@takes_house
@click.option("--symbol1", required=True, help="The leg that is regressed (y).")
@click.option("--symbol2", required=True, help="The leg it is regressed on (x).")
@click.option("--symbol3", "more", multiple=True, help="A further x of a basket; may come again.")
@click.option("--timeframe", default="1s", show_default=True)
@click.option("--window", default=60, show_default=True, type=click.IntRange(3, 10_000), help="Bars in the rolling window.")
@click.option("--method", default="ols", show_default=True, help=METHOD_HELP)
@click.option("--from", "from_us", callback=stamp, help="First UTC day, 2026-11-23, or a stamp.")
@click.option("--to", "to_us", callback=stamp, help="End, not included.")
def spread(
    house: House, symbol1: str, symbol2: str, more: tuple[str, ...], timeframe: str, window: int, method: str,
    from_us: int | None, to_us: int | None,
) -> int:  # fmt: skip
    """Hedge ratio, spread, z-score and correlation of a pair, or of a basket."""
    from common.errors import ConfigError
    from common.pairspec import checked_method

    legs = [symbol.upper() for symbol in (symbol1, symbol2, *more)]
    try:
        method = checked_method(method, len(legs))
    except ValueError as exc:
        raise ConfigError(f"--method: {exc}") from exc
    params = {"symbols": legs, "timeframe": timeframe, "window": window, "method": method, **_span(from_us, to_us)}
    return _compute(house, "spread", params, _SPREAD, ("_".join(legs), timeframe, window, method))


@compute.command()
@takes_house
@click.option("--symbol", required=True)
@click.option("--timeframe", default="1s", show_default=True)
@click.option("--window", default=None, type=click.IntRange(2, 10_000), help="Bars in it; default GEMS_STATS_WINDOW.")
@click.option("--from", "from_us", callback=stamp, help="First UTC day, 2026-11-23, or a stamp.")
@click.option("--to", "to_us", callback=stamp, help="End, not included.")
def stats(house: House, symbol: str, timeframe: str, window: int | None, from_us: int | None, to_us: int | None) -> int:
    """Returns, volatilities, volume, range, VWAP, imbalance, ATR and drawdown of a symbol's bars."""
    symbol, window = symbol.upper(), window or house.settings().stats_window
    params = {"symbol": symbol, "timeframe": timeframe, "window": window, **_span(from_us, to_us)}
    return _compute(house, "stats", params, _STATS, (symbol, timeframe, window))


def _span(from_us: int | None, to_us: int | None) -> dict[str, int]:
    """The range as a task takes it: without the ends that were not given."""
    from common.errors import ConfigError

    if from_us is not None and to_us is not None and from_us >= to_us:
        raise ConfigError(f"--from: {iso_of(from_us)} is not before --to, {iso_of(to_us)}")
    return {name: value for name, value in (("start_us", from_us), ("end_us", to_us)) if value is not None}


def iso_of(moment_us: int) -> str:
    """2026-11-23T07:00:00Z; with its fraction of a second where it has one."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)).isoformat().replace("+00:00", "Z")


def _compute(house: House, kind: str, params: Mapping[str, Any], query: str, key: tuple[Any, ...]) -> int:
    from common.database import connect_database
    from common.tasks import create_task
    from ops.follow import follow

    connection = connect_database(house.settings(), f"compute {kind}")
    try:
        last = follow(connection, create_task(connection, kind, params), kind, "tasks", "rows")
        if last.state == "failed":
            click.secho(f"compute {kind}: {last.error}", fg="red", err=True)
            return 1
        if not last.counts.get("rows"):
            click.secho(_nothing(house, params), err=True)
            return 1
        with connection, connection.cursor() as cursor:
            ends = [iso_of(params[name]) if name in params else end for name, end in _ENDS]
            cursor.execute(query, (*key, *ends))
            show([column.name for column in cursor.description or ()], cursor.fetchall()[::-1])
    finally:
        connection.close()
    click.echo("stored: " + ", ".join(f"{name} {count:,}" for name, count in last.counts.items()))
    return 0


def _nothing(house: House, params: Mapping[str, Any]) -> str:
    """Why there is no row, as far as it can be told: a name that nobody feeds is mostly a typing mistake."""
    settings = house.settings()
    stretch = [f"{word} {iso_of(params[name])}" for word, name in (("from", "start_us"), ("to", "end_us")) if name in params]
    where = " ".join([f"of {params['timeframe']}", *stretch])
    return (
        f"No closed bars {where} are stored of {' and '.join(_symbols(params))}. "
        f"Live are {', '.join(settings.symbols)} at {', '.join(settings.timeframes)}."
    )


def _symbols(params: Mapping[str, Any]) -> list[str]:
    return list(params["symbols"]) if "symbols" in params else [params["symbol"]]


def show(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table of the newest rows, oldest first."""
    from rich.console import Console
    from rich.table import Table

    lines = [[_text(value) for value in row] for row in rows]
    table = Table(*names, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for line in lines:
        table.add_row(*line)
    needed = sum(max(map(len, column)) + 2 for column in zip(names, *lines, strict=True))
    Console(width=max(Console().width, needed)).print(table)  # a number that is cut is another number


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else f"{value:%H:%M:%S}" if hasattr(value, "hour") else str(value)
