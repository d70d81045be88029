"""Options that name a series of pair rows, and the series that they name; the API has the same rules."""

from collections.abc import Callable
from typing import Any

import click

from common.errors import ConfigError
from common.pairseries import Series, SeriesKey
from common.pairspec import WINDOWS, basket_legs, checked_method, least_window
from common.settings import Settings

METHOD_HELP = "ols, tls, kalman or huber, with +log, +prior, +strict; baskets: ols or johansen."


def series_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--pair --timeframe --window --method`, none of them required."""
    for option in (
        click.option("--method", help=METHOD_HELP),
        click.option("--window", type=click.IntRange(WINDOWS[0], WINDOWS[-1]), help="Bars in the rolling window."),
        click.option("--timeframe"),
        click.option("--pair", help="Y_X, or Y_X1_X2 for a basket."),
    ):
        command = option(command)
    return command


def known_symbols(connection: Any, settings: Settings) -> frozenset[str]:
    """All symbols that have ticks, or that the feed is asked for."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol FROM sources")
        return frozenset(row[0] for row in cursor.fetchall()) | frozenset(settings.symbols)


def named_series(
    connection: Any, settings: Settings, pair: str, timeframe: str, window: int | None, method: str | None
) -> Series:
    """The series of these options; what is not given is as in GEMS_PAIRS, or else `ols` and GEMS_WINDOW.

    Raises:
        ConfigError: it can not be.
    """
    pair = pair.upper()
    legs = basket_legs(pair, known_symbols(connection, settings))
    if legs is None:
        raise ConfigError(f"{pair!r} is not Y_X of two different known symbols")
    specs = [spec for spec in settings.pair_specs if spec.pair == pair]
    spec = next((spec for spec in specs if method in (None, spec.method) and window in (None, spec.window)), None)
    try:
        method = checked_method(method or (spec.method if spec else "ols"), len(legs))
    except ValueError as exc:
        raise ConfigError(f"--method: {exc}") from exc
    window = window or (spec.window if spec else None) or settings.window
    if window < (least := least_window(method, len(legs))):
        raise ConfigError(f"--window: must be at least {least} for {method} of {len(legs)} legs, was {window}")
    return Series(SeriesKey(pair, timeframe, window, method), legs)
