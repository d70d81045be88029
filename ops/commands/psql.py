"""`./gems psql`: PostgreSQL's own client on an instance."""

import os
import shutil
from urllib.parse import unquote, urlsplit

import click

from ops.commands import takes_house
from ops.house import House


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@takes_house
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(house: House, arguments: tuple[str, ...]) -> None:
    """Look into the instance's database, as ./gems psql -- -c 'SELECT count(*) FROM raw_ticks'."""
    from ops.servers.binaries import postgres_programs

    url = urlsplit(house.settings().database_url)
    program = shutil.which("psql", path=str(postgres_programs())) or "psql"
    environ = dict(os.environ)
    if url.password is not None:
        environ["PGPASSWORD"] = unquote(url.password)  # in the environment, since anybody may read `ps`
        url = url._replace(netloc=url.netloc.replace(f":{url.password}@", "@", 1))
    os.execvpe(program, ["psql", url.geturl(), *arguments], environ)
