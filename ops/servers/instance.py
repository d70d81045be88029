"""An instance: one data directory, and the ports and passwords of the servers in it.

`instance.json` is written once, readable by its owner only. Ports are taken below the range that the system hands
out to clients: a client that retries a port of that range can end up connected to itself, and then the server
that should own the port can never bind it again.
"""

import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.errors import ConfigError
from common.settings import Settings

_PORTS = range(20_000, 32_000)
_REDIS_NUMBER = {"sim": 0, "binance": 1}
_given: set[int] = set()  # ports that this process has given out: whoever got one may not listen yet


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What the embedded servers of a data directory listen on, and their passwords."""

    postgres_port: int
    postgres_password: str
    redis_port: int
    redis_password: str
    #: Where its Redis program came from first, "path" or "wheel": a newer one's files can not be read by an older one.
    redis_origin: str = ""

    def postgres_url(self, database: str) -> str:
        """Address of one of its databases."""
        return f"postgresql://gems:{self.postgres_password}@127.0.0.1:{self.postgres_port}/{database}"

    def redis_url(self, number: int) -> str:
        """Address of one of its Redis database numbers."""
        return f"redis://:{self.redis_password}@127.0.0.1:{self.redis_port}/{number}"


def open_instance(data_dir: Path) -> Instance:
    """The instance of a data directory, made if it is not there yet.

    Raises:
        ConfigError: the directory can not be written, or its `instance.json` can not be read.
    """
    with _locked(data_dir):
        found = read_instance(data_dir)
        if found is None:
            postgres_port, redis_port = free_port(), free_port()
            found = Instance(
                postgres_port=postgres_port,
                postgres_password=secrets.token_urlsafe(18),
                redis_port=redis_port,
                redis_password=secrets.token_urlsafe(18),
            )
            write_private(data_dir / "instance.json", json.dumps(asdict(found), indent=1))
        return found


def read_instance(data_dir: Path) -> Instance | None:
    """The instance of a data directory; None if none was made there."""
    path = data_dir / "instance.json"
    try:
        return Instance(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except PermissionError as exc:
        raise ConfigError(f"{path} belongs to another user; run as that user, or take another --data-dir") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{path} is not what GEMS wrote ({exc}); restore it, or take another --data-dir") from exc


def change_instance(data_dir: Path, **changes: int | str) -> Instance:
    """Rewrite some of an instance's facts; answers the whole."""
    with _locked(data_dir):
        found = read_instance(data_dir)
        assert found is not None, "an instance is opened before it is changed"
        changed = replace(found, **changes)  # type: ignore[arg-type]
        write_private(data_dir / "instance.json", json.dumps(asdict(changed), indent=1))
        return changed


def move_taken_ports(data_dir: Path) -> Instance:
    """The instance, with other ports where somebody else has taken one; only while its servers do not run."""
    instance = open_instance(data_dir)
    names = ("postgres_port", "redis_port")
    moved = {name: free_port() for name in names if not port_is_free("127.0.0.1", getattr(instance, name))}
    return change_instance(data_dir, **moved) if moved else instance


def instance_urls(settings: Settings) -> tuple[str, str]:
    """Addresses (PostgreSQL, Redis): the user's own where set, else those of the embedded servers."""
    if settings.database_url and settings.redis_url:
        return settings.database_url, settings.redis_url
    instance = open_instance(settings.data_dir)
    return (
        settings.database_url or instance.postgres_url(f"gems_{settings.feed}"),
        settings.redis_url or instance.redis_url(_REDIS_NUMBER[settings.feed]),
    )


def free_port() -> int:
    """A port of loopback that nobody listens on; another one each time."""
    left = [port for port in _PORTS if port not in _given]
    for port in random.sample(left, min(200, len(left))):
        if port_is_free("127.0.0.1", port):
            _given.add(port)
            return port
    raise ConfigError(f"no free port was found between {_PORTS.start} and {_PORTS.stop}")


def port_is_free(host: str, port: int) -> bool:
    """True if a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with (data_dir / "instance.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as exc:
        raise ConfigError(f"{data_dir} can not be written; give its owner to this user, or take another --data-dir") from exc
