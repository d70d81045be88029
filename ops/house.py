"""A running instance: where its supervisor's files are, which settings it runs with, how to reach its supervisor."""

import hashlib
import json
import os
import shlex
import tempfile
import xmlrpc.client
from pathlib import Path
from typing import Any

from common.errors import ConfigError, GemsError
from common.settings import Settings
from ops.servers.instance import write_private

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_DATA_DIR = ROOT / "var"
#: A unix socket's path holds 107 bytes at most, and supervisord binds it under a name with its pid first.
_LONGEST_SOCKET_PATH = 90


class NotRunning(GemsError):
    """No supervisor answers for this data directory."""


class House:
    """The files of one data directory, and its supervisor."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.logs = self.data_dir / "log"
        self.configuration = self.data_dir / "supervisord.conf"
        self.socket = _socket_path(self.data_dir)

    def __str__(self) -> str:
        return str(self.data_dir.relative_to(ROOT)) if self.data_dir.is_relative_to(ROOT) else str(self.data_dir)

    @property
    def option(self) -> str:
        """What to add to a command so that it means this instance."""
        return "" if self.data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(self))}"

    def remember(self, settings: Settings) -> None:
        """Store the settings that the instance is started with, both addresses filled in."""
        write_private(self.data_dir / "settings.json", json.dumps(settings.to_env(), indent=1))

    def settings(self) -> Settings:
        """The settings it was last started with; where none were stored, those of the environment.

        Raises:
            NotRunning: it was never started, and the environment does not name both servers.
            ConfigError: the stored settings can not be read.
        """
        path = self.data_dir / "settings.json"
        try:
            return Settings.from_env(json.loads(path.read_text()))
        except FileNotFoundError:
            settings = Settings.from_env(data_dir=self.data_dir)
        except (PermissionError, ValueError) as exc:
            raise ConfigError(f"{path} can not be read: {exc}") from exc
        if settings.database_url and settings.redis_url:
            return settings
        raise NotRunning(f"Nothing was ever started in {self}; start it with ./gems up{self.option}")

    @staticmethod
    def dashboard(settings: Settings) -> str:
        """Address of the dashboard, as a browser on this machine reaches it."""
        host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0", "::", "::1") else settings.host
        return f"http://{host}:{settings.port}/"

    def supervisor(self) -> Any:
        """The supervisor's XML-RPC namespace.

        Raises:
            NotRunning: no supervisor answers.
        """
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self.socket}")
        supervisor = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
        try:
            supervisor.getState()
        except PermissionError as exc:
            raise ConfigError(f"{self} belongs to another user; run as that user") from exc
        except OSError as exc:
            raise NotRunning(f"Nothing is running in {self}; start it with ./gems up{self.option}") from exc
        return supervisor

    def is_running(self) -> bool:
        """True if its supervisor answers."""
        try:
            self.supervisor()
        except NotRunning:
            return False
        return True

    def log_tail(self, process: str, lines: int = 12) -> str:
        """The end of a process's log."""
        try:
            text = (self.logs / f"{process}.log").read_text(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _socket_path(data_dir: Path) -> Path:
    beside = data_dir / "supervisor.sock"
    if len(os.fsencode(beside)) <= _LONGEST_SOCKET_PATH:
        return beside
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"gems-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to another user; take a --data-dir with a shorter path")
    return folder / "supervisor.sock"
