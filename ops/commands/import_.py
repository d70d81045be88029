"""`./gems import`: files of trades into a running instance, with a progress bar."""

from pathlib import Path

import click

from ops.commands import takes_house
from ops.follow import TaskState, follow
from ops.house import House, NotRunning


@click.command("import")
@takes_house
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--symbol", help="What the rows are of, where neither they nor the file's name say it, as SIM:BTCUSDT.")
def import_(house: House, files: tuple[Path, ...], symbol: str | None) -> int:
    """Import FILES: Binance archives, CSV with a header or NDJSON of ticks; plain, .gz, .zip or .zst.

    The same file again changes nothing: every trade is stored once.
    """
    if not house.is_running() and (house.data_dir / "instance.json").exists():
        raise NotRunning(f"Nothing is running in {house}; start it with ./gems up{house.option}")
    return max(_import_one(house, file, symbol) for file in files)


def _import_one(house: House, file: Path, symbol: str | None) -> int:
    from common.database import connect_database
    from common.tasks import create_task

    connection = connect_database(house.settings(), "import", autocommit=False)
    try:
        task_id = create_task(connection, "import", {"path": str(file), "filename": file.name, "symbol": symbol})
        try:
            last = follow(connection, task_id, file.name, "the importer", "rows")
        except KeyboardInterrupt:
            click.echo(f"The import goes on without us; it is task {task_id}.")
            return 130
    finally:
        connection.close()
    return _tell(file.name, last)


def _tell(name: str, last: TaskState) -> int:
    """One sentence; the exit code."""
    counts = f"{last.counts.get('accepted', 0):,} trades of {', '.join(last.counts.get('symbols', [])) or 'no symbol'}"
    if last.counts.get("rejected"):
        counts += f", {last.counts['rejected']:,} rows refused (./gems dead-letters list says why)"
    if last.state == "failed":
        click.secho(f"{name}: {last.error} ({counts} were taken)", fg="red", err=True)
        return 1
    click.echo(f"{name}: {counts}")
    return 0
