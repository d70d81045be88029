"""`./gems dead-letters`: what could not be stored, and why; replayed once the reason is gone, or dropped."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from ops.commands import takes_house
from ops.house import House

if TYPE_CHECKING:
    from ops.letters.shelf import Letter

_TOLD = 20


@click.group("dead-letters")
def dead_letters() -> None:
    """Rows that no table took."""


def _takes_choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--id` (more than once) or `--all`; the command receives a tuple of ids, empty for all."""
    command = click.option("--all", "everything", is_flag=True, help="Every one of them.")(command)
    return click.option("--id", "ids", type=int, multiple=True, help="This one; may be given again.")(command)


@dead_letters.command("list")
@takes_house
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="The newest so many.")
@click.option("--reason", default="", help="Only those whose reason holds this text.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
def list_(house: House, limit: int, reason: str, as_json: bool) -> None:
    """The newest dead letters, their reasons counted."""
    from common.database import connect_database
    from ops.letters.shelf import count_reasons, newest

    with closing(connect_database(house.settings(), "dead-letters")) as connection:
        letters, reasons = newest(connection, limit, reason), count_reasons(connection, reason)
    total = sum(count for _, _, count in reasons)
    if as_json:
        counted = [{"src": src, "field": field, "count": count} for src, field, count in reasons]
        told = [{**letter._asdict(), "created_at": letter.created_at.isoformat()} for letter in letters]
        click.echo(json.dumps({"total": total, "reasons": counted, "letters": told}, indent=1))
    elif not total:
        click.echo("There are no dead letters" + (" with such a reason." if reason else "."))
    else:
        _show(letters, reasons, total)


@dead_letters.command()
@takes_house
@_takes_choice
def replay(house: House, ids: tuple[int, ...], everything: bool) -> int:
    """Judge them again by the time it is now, and send those that are good now; the rest stay.

    Rows of files go by way of the importer once more. What is stored already is not stored twice.
    """
    from common.database import connect_database
    from common.streams import connect_redis
    from ops.letters.replay import Replay

    _must_choose(ids, everything)
    settings = house.settings()
    with closing(connect_database(settings, "dead-letters")) as connection, closing(connect_redis(settings)) as client:
        outcome = Replay(settings, client, connection).run(ids or None)
    for letter_id, why in outcome.stayed[:_TOLD]:
        click.echo(f"{letter_id} stays: {why}")
    if len(outcome.stayed) > _TOLD:
        click.echo(f"and {len(outcome.stayed) - _TOLD:,} more stay")
    click.echo(f"replayed {outcome.replayed:,}, {len(outcome.stayed):,} stay")
    return 1 if outcome.stayed else 0


@dead_letters.command()
@takes_house
@_takes_choice
@click.option("--yes", is_flag=True, help="Don't ask.")
def drop(house: House, ids: tuple[int, ...], everything: bool, yes: bool) -> None:
    """Forget them for good."""
    from common.database import connect_database
    from ops.letters.shelf import delete, delete_up_to, newest_id

    _must_choose(ids, everything)
    with closing(connect_database(house.settings(), "dead-letters")) as connection:
        until = newest_id(connection)
        if everything and not yes:
            click.confirm(f"Forget every dead letter of {house} for good?", abort=True)
        with connection, connection.cursor() as cursor:
            dropped = delete(cursor, ids) if ids else delete_up_to(cursor, until)
        click.echo(f"dropped {dropped:,}")


def _must_choose(ids: tuple[int, ...], everything: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("which ones? Give --id (more than once, if you like) or --all, not both")


def _show(letters: "list[Letter]", reasons: list[tuple[str, str, int]], total: int) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    counted = ", ".join(f"{count:,} {src} {field}" for src, field, count in reasons[:8])
    console.print(f"[bold]{total:,} dead letters[/]: {counted}", soft_wrap=True)
    table = Table("id", "since", "from", "entry and row", "reason", "payload", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for letter in letters:
        when, where = f"{letter.created_at:%m-%d %H:%M:%S}", f"{letter.entry_id} {letter.row_number}"
        cells = (when, f"{letter.stream} {letter.src}", where, letter.reason, letter.payload[:60])
        table.add_row(str(letter.id), *map(escape, cells))
    Console(width=max(console.width, 160), highlight=False).print(table)
