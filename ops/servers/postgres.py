"""The embedded PostgreSQL: made once, then started with settings for two cores that mostly take in rows."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from common.errors import ConfigError
from ops.servers.binaries import POSTGRES_MAJOR, User, postgres_programs, service_user
from ops.servers.instance import Instance, open_instance
from ops.servers.process import become, hold_lock, make_folder, path_for

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "max_connections": "150",
    "shared_buffers": "256MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    # Two cores belong to the stream first; and parallel queries need more of /dev/shm than a container may have.
    "max_parallel_workers_per_gather": "0",
    "shared_preload_libraries": "pg_stat_statements",
}


def exec_postgres(data_dir: Path, extra: Sequence[str] = ()) -> NoReturn:
    """Turn this process into the PostgreSQL of a data directory; `extra` are more arguments for it.

    Raises:
        ConfigError: the folder is of another version, or held by another server.
    """
    instance, user, folder = open_instance(data_dir), service_user(), data_dir / "postgres"
    programs = postgres_programs(user)
    lock = hold_lock(data_dir / "postgres.lock")
    if not (folder / "PG_VERSION").exists():
        _make_cluster(folder, programs, instance, user, lock)
    check_version(data_dir)
    make_folder(folder, user)
    os.chdir(folder)
    program = str(programs / "postgres")
    arguments = [program, "-D", path_for(folder, user), "-p", str(instance.postgres_port)]
    for name, value in _SETTINGS.items():
        arguments += ["-c", f"{name}={value}"]
    become(user, signal.SIGINT)  # SIGINT is the fast shutdown; SIGTERM would wait for the clients to leave
    os.execv(program, [*arguments, *extra])


def check_version(data_dir: Path) -> None:
    """Raise ConfigError if the data directory's PostgreSQL files are of another major version."""
    folder = data_dir / "postgres"
    try:
        found = (folder / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    except PermissionError as exc:
        raise ConfigError(f"{folder} belongs to another user; run as that user, or take another --data-dir") from exc
    if found != POSTGRES_MAJOR:
        raise ConfigError(
            f"{folder} was made by PostgreSQL {found}, this one is {POSTGRES_MAJOR} and can not read it; "
            f"take another --data-dir, or move the folder away (pg_dump of version {found} gets the rows out)"
        )


def _make_cluster(folder: Path, programs: Path, instance: Instance, user: User | None, lock: int) -> None:
    """Run initdb beside the final place and rename: a start that is killed half way leaves nothing behind that counts."""
    fresh = folder.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    make_folder(fresh, user)
    with tempfile.NamedTemporaryFile("w") as password:
        password.write(instance.postgres_password)
        password.flush()
        if user:
            os.chown(password.name, user.uid, user.gid)
        _initdb(fresh, programs, password.name, user, lock)
    fresh.rename(folder)


def _initdb(folder: Path, programs: Path, password_file: str, user: User | None, lock: int) -> None:
    command = [str(programs / "initdb"), "-D", path_for(folder, user), "-U", "gems", f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--locale=C.UTF-8", "-E", "UTF8"]
    who = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    done = subprocess.run(
        command, cwd=folder, pass_fds=[lock], capture_output=True, text=True, check=False, **who  # type: ignore[call-overload]
    )
    if done.returncode:
        raise ConfigError(f"initdb could not make {folder.with_name('postgres')}: {done.stderr.strip() or done.stdout.strip()}")
