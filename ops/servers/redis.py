"""The embedded Redis: every write on disk before it is answered, nothing ever evicted."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ops.servers.binaries import redis_program, service_user
from ops.servers.instance import Instance, change_instance, open_instance
from ops.servers.process import become, hold_lock, make_folder

#: What clients may do: everything but scripts, debugging and stopping the server.
_RIGHTS = "~* &* +@all -@scripting -@dangerous +info +config|get +client|list +keys +flushdb +slowlog"


def exec_redis(data_dir: Path, max_mb: int, extra: Sequence[str] = ()) -> NoReturn:
    """Turn this process into the Redis (or Valkey) of a data directory.

    `extra` are more arguments for it; a leading `--unrestricted` lets clients do everything (tests fill and break it).

    Raises:
        ConfigError: no server program was found, or another server holds the folder.
    """
    instance, user, folder = open_instance(data_dir), service_user(), data_dir / "redis"
    program, origin = redis_program(instance.redis_origin, user)
    if origin != instance.redis_origin:
        change_instance(data_dir, redis_origin=origin)
    hold_lock(data_dir / "redis.lock")
    make_folder(folder, user)
    os.chdir(folder)  # the default of `dir` is where it stands, so no path has to be reachable
    become(user, signal.SIGTERM)
    rights = _RIGHTS
    if extra[:1] == ["--unrestricted"]:
        rights, extra = "~* &* +@all", extra[1:]
    _give_stdin(_configuration(instance, max_mb, rights))
    os.execv(program, [str(program), "-", *extra])


def _configuration(instance: Instance, max_mb: int, rights: str) -> str:
    lines = [
        f"port {instance.redis_port}",
        "bind 127.0.0.1",
        f"user default on >{instance.redis_password} {rights}",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        # The stream is trimmed as it is read, so the log outgrows the set quickly: rewrite it not too often.
        "auto-aof-rewrite-min-size 256mb",
        "maxmemory-policy noeviction",
        f"maxmemory {max_mb}mb",
        'logfile ""',
    ]
    return "\n".join(lines) + "\n"


def _give_stdin(text: str) -> None:
    """Let the server read its configuration from standard input: the password is then in no file and in no `ps`."""
    read_end, write_end = os.pipe()
    os.write(write_end, text.encode())
    os.close(write_end)
    os.dup2(read_end, 0)
    os.close(read_end)
