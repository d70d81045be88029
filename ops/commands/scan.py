"""`./gems scan`: all pairs of some symbols, ranked."""

from typing import Any

import click

from ops.commands import takes_house
from ops.commands.compute import show
from ops.house import House

#: As the API sorts, best first.
_SORTS = {
    "coint_pvalue": "coint_pvalue", "half_life": "half_life", "z_score": "abs(z_score) DESC", "hurst": "hurst",
    "correlation": "abs(correlation) DESC", "return_correlation": "abs(return_correlation) DESC",
}  # fmt: skip
_RANKED = """
SELECT symbol_pair, coint_pvalue, other_way_pvalue, half_life, z_score, hedge_ratio, hurst, correlation, return_correlation, rows
FROM pair_scans WHERE scan_id = %s ORDER BY {} NULLS LAST, symbol_pair LIMIT %s
"""


@click.command()
@takes_house
@click.option("--timeframe", default="1s", show_default=True)
@click.option("--window", default=None, type=click.IntRange(20, 2000), help="Rows that are looked at; default GEMS_WINDOW.")
@click.option("--symbols", default="", help="With commas; default GEMS_SYMBOLS.")
@click.option("--sort", type=click.Choice(list(_SORTS)), default="coint_pvalue", show_default=True, help="Best first.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 20_000), help="The best so many.")
def scan(house: House, timeframe: str, window: int | None, symbols: str, sort: str, limit: int) -> int:
    """Rank all pairs: Engle-Granger both ways, half-life, z-score now, hedge ratio, correlations."""
    from common.database import connect_database
    from common.tasks import create_task
    from ops.follow import follow

    settings = house.settings()
    named = [symbol.strip().upper() for symbol in symbols.split(",") if symbol.strip()] or list(settings.symbols)
    params: dict[str, Any] = {"timeframe": timeframe, "window": window or settings.window, "symbols": named}
    connection = connect_database(settings, "scan")
    try:
        task_id = create_task(connection, "scan", params)
        last = follow(connection, task_id, "scan", "tasks", "pairs")
        if last.state == "failed":
            click.secho(f"scan: {last.error}", fg="red", err=True)
            return 1
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT computed_on, pairs FROM scan_runs WHERE scan_id = %s", (task_id,))
            computed_on, pairs = cursor.fetchone() or (None, 0)
            cursor.execute(_RANKED.format(_SORTS[sort]), (task_id, limit))
            names, rows = [column.name for column in cursor.description or ()], cursor.fetchall()
    finally:
        connection.close()
    if not rows:
        click.secho(f"No two of {', '.join(named)} have closed bars of {timeframe}.", err=True)
        return 1
    show(names, rows)
    shown = f"the best {len(rows)} of {pairs:,} pairs" if len(rows) < pairs else f"{pairs:,} pairs"
    most = max(row[names.index("rows")] for row in rows)
    click.echo(f"{shown}; the newest {most} rows of {timeframe}, up to the bar of {computed_on:%Y-%m-%d %H:%M:%S} UTC")
    if most < params["window"]:
        click.echo(f"Statistics come with {params['window']} rows; --window takes from 20.")
    return 0
