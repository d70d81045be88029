"""`./gems import`: files of trades into a running instance, with a progress bar."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import click

from ops.commands import takes_house
from ops.house import House, NotRunning

_POLL_S = 0.2
_WAIT_FOR_IMPORTER_S = 30.0


class _State(NamedTuple):
    """A task as its row tells it."""

    state: str
    progress: float
    counts: dict[str, Any]
    error: str | None


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
            last = _follow(connection, task_id, file.name)
        except KeyboardInterrupt:
            click.echo(f"The import goes on without us; it is task {task_id}.")
            return 130
    finally:
        connection.close()
    return _tell(file.name, last)


def _follow(connection: Any, task_id: str, name: str) -> _State:
    """Show the progress until the task has ended; its last state."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]}"))
    queued_until_s = time.monotonic() + _WAIT_FOR_IMPORTER_S
    with Progress(*columns, TimeRemainingColumn()) as bars:
        bar = bars.add_task(name, total=1.0, rows="waiting")
        while True:
            now = _state(connection, task_id)
            if now.state == "queued" and time.monotonic() > queued_until_s:
                bars.update(bar, rows="waiting for the importer (./gems status tells whether it runs)")
            elif now.state != "queued":
                bars.update(bar, completed=now.progress, rows=f"{now.counts.get('rows', 0):,} rows")
            if now.state in ("done", "failed"):
                return now
            time.sleep(_POLL_S)


def _state(connection: Any, task_id: str) -> _State:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT state, progress, counts, error FROM tasks WHERE task_id = %s", (task_id,))
        return _State(*cursor.fetchone())


def _tell(name: str, last: _State) -> int:
    """One sentence; the exit code."""
    counts = f"{last.counts.get('accepted', 0):,} trades of {', '.join(last.counts.get('symbols', [])) or 'no symbol'}"
    if last.counts.get("rejected"):
        counts += f", {last.counts['rejected']:,} rows refused (./gems psql -- -c 'TABLE dead_letters' says why)"
    if last.state == "failed":
        click.secho(f"{name}: {last.error} ({counts} were taken)", fg="red", err=True)
        return 1
    click.echo(f"{name}: {counts}")
    return 0
