"""`./gems redis-cli`: Redis's own client on an instance."""

import os
from urllib.parse import parse_qs, unquote, urlsplit

import click

from ops.commands import takes_house
from ops.house import House


@click.command("redis-cli", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@takes_house
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def redis_cli(house: House, arguments: tuple[str, ...]) -> None:
    """Look into the instance's Redis, as ./gems redis-cli -- XRANGE trades - + COUNT 1."""
    from ops.servers.binaries import redis_client

    program = redis_client()
    if program is None:
        raise click.ClickException("There is no redis-cli on this machine; install redis-tools")
    options, environ = client_options(house.settings().redis_url)
    os.execve(program, ["redis-cli", *options, *arguments], {**os.environ, **environ})


def client_options(redis_url: str) -> tuple[list[str], dict[str, str]]:
    """What redis-cli needs to reach a URL: options, and the password in the environment.

    >>> client_options("redis://:secret@127.0.0.1:6379/1")
    (['-h', '127.0.0.1', '-p', '6379', '-n', '1'], {'REDISCLI_AUTH': 'secret'})
    """
    url = urlsplit(redis_url)
    query = parse_qs(url.query)
    if url.scheme == "unix":
        options, number = ["-s", url.path], query.get("db", ["0"])[0]
    else:
        options, number = ["-h", url.hostname or "127.0.0.1", "-p", str(url.port or 6379)], url.path.strip("/")
    options += ["-n", number] if number not in ("", "0") else []
    options += ["--tls"] if url.scheme == "rediss" else []
    options += ["--user", unquote(url.username)] if url.username else []
    password = url.password or query.get("password", [""])[0]
    return options, {"REDISCLI_AUTH": unquote(password)} if password else {}
