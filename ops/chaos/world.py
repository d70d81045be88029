"""The private instance: real servers, exchange and services under their supervisor, in a temporary data directory."""

import json
import os
import shutil
import signal
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import redis
import urllib3
from psycopg2.extensions import connection as Connection
from supervisor.xmlrpc import Faults

from common.database import connect_database
from common.errors import GemsError
from common.lifecycle import Stop
from common.settings import Settings
from common.streams import connect_redis
from ops.chaos.disk import SmallDisks
from ops.house import House
from ops.servers.instance import free_port
from ops.servers.process import lock_owner
from ops.shutdown import shut_down
from ops.startup import start_supervisor, write_files
from ops.steps import Steps
from ops.supervision import programs
from ops.watch import wait_ready

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
_ANSWER_S = 5.0
#: A server that was killed and does not end would be left down: this is long enough for a machine that is busy with others.
_END_S = 60.0


class NotNow(GemsError):
    """A fault has nothing to hit at this moment."""


class World:
    """Handles on a running instance. Nothing here waits for a server that is away."""

    def __init__(self, house: House, settings: Settings, disks: SmallDisks) -> None:
        self.house, self.settings, self.disks = house, settings, disks
        self.http = urllib3.PoolManager(retries=False, timeout=_ANSWER_S)

    def redis(self) -> redis.Redis:
        """A client of its own; close it."""
        return connect_redis(self.settings, socket_timeout=_ANSWER_S)

    def database(self) -> Connection:
        """A session of its own; close it."""
        return connect_database(self.settings, "chaos", autocommit=True)

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, by a session of its own."""
        with closing(self.database()) as connection, connection.cursor() as cursor:
            cursor.execute(query, params or None)
            return cursor.fetchall()

    def processes(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each process, by name."""
        return {found["name"]: found for found in self.house.supervisor().getAllProcessInfo()}

    def pid(self, name: str) -> int:
        """The running process of that name.

        Raises:
            NotNow: it does not run within a few seconds.
        """
        until_s = time.monotonic() + _ANSWER_S
        while not (pid := self.processes()[name]["pid"]):
            if time.monotonic() > until_s:
                raise NotNow(f"{name} does not run")
            time.sleep(0.05)
        return int(pid)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process; to all of its children too where it is not deadly (backends of a server work on alone).

        Raises:
            NotNow: it does not run.
        """
        try:
            process = psutil.Process(self.pid(name))
            hit = [process] if number == signal.SIGKILL else [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess as exc:
            raise NotNow(f"{name} has just ended") from exc
        for each in hit:
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def take_down(self, name: str) -> None:
        """kill -9 of a process that its supervisor is not to start again before `bring_up`.

        Raises:
            NotNow: it does not run, or has just ended.
        """
        pid = self.pid(name)
        try:
            os.kill(pid, signal.SIGSTOP)  # so that the supervisor's polite signal finds nobody who could obey it
            self.house.supervisor().stopProcess(self._full_name(name), False)
        except (ProcessLookupError, xmlrpc.client.Fault) as exc:
            raise NotNow(f"{name} has just ended") from exc
        os.kill(pid, signal.SIGKILL)
        self._until(lambda: self.processes()[name]["statename"] in ("STOPPED", "EXITED"), f"end of {name}")
        # Backends of PostgreSQL outlive it for a moment, and may commit in it.
        self._until(lambda: lock_owner(self.house.data_dir / f"{name}.lock") is None, f"end of all of {name}")

    def bring_up(self, name: str) -> None:
        """Start what was taken down."""
        try:
            self.house.supervisor().startProcess(self._full_name(name), False)
        except xmlrpc.client.Fault as exc:
            if exc.faultCode != Faults.ALREADY_STARTED:
                raise NotNow(f"{name} can not be started: {exc.faultString}") from exc

    def ask_exchange(self, path: str, **headers: str) -> Any:
        """The JSON of a GET from the simulated exchange."""
        answer = self.http.request("GET", f"{self.settings.rest_url}{path}", headers=headers)
        return answer.json()

    def tell_exchange(self, path: str, body: Mapping[str, Any]) -> None:
        """A POST to it.

        Raises:
            NotNow: it is away.
        """
        try:
            self.http.request("POST", f"{self.settings.rest_url}{path}", body=json.dumps(body).encode())
        except urllib3.exceptions.HTTPError as exc:
            raise NotNow("the exchange is away") from exc

    def wait(self, reached: Callable[[], Any], deadline_s: float) -> bool:
        """Poll until true, False when the time is over; a server that does not answer is not yet there."""
        until_s = time.monotonic() + deadline_s
        while not _answered(reached):
            if time.monotonic() > until_s:
                return False
            time.sleep(0.2)
        return True

    def _full_name(self, name: str) -> str:
        return f"{self.processes()[name]['group']}:{name}"

    def keep_logs(self, folder: Path) -> None:
        """Copy what the processes said."""
        shutil.copytree(self.house.logs, folder, dirs_exist_ok=True)

    def _until(self, reached: Callable[[], Any], what: str) -> None:
        if not self.wait(reached, _END_S):
            raise NotNow(f"no {what}")


def _answered(reached: Callable[[], Any]) -> bool:
    try:
        return bool(reached())
    except (redis.RedisError, psycopg2.Error, urllib3.exceptions.HTTPError, OSError):
        return False


def chaos_settings(folder: Path, rate: float, seed: int) -> Settings:
    """Settings of a private instance: short patience everywhere, so that a short run sees every way out."""
    return Settings.from_env(
        {}, data_dir=folder, port=free_port(), sim_port=free_port(), sim_rate=rate, sim_seed=seed, symbols=SYMBOLS,
        pairs=("BTCUSDT_ETHUSDT",), timeframes=("1s", "5s", "1m", "5m"), history="0", stale_after_s=4.0, claim_after_s=10.0,
    )  # fmt: skip


@contextmanager
def private_world(rate: float, seed: int, steps: Steps) -> Iterator[World]:
    """An instance that runs, and is gone at the end with all its files."""
    folder = Path(tempfile.mkdtemp(prefix="gems-chaos-"))
    folder.chmod(0o755)  # the servers are another user where we are root
    house, disks = House(folder), SmallDisks(folder)
    try:
        settings = chaos_settings(folder, rate, seed)
        write_files(house, settings, [_unrestricted(program) for program in programs(settings)])
        wait_ready(house, start_supervisor(house), steps, Stop())
        world = World(house, house.settings(), disks)
        for name in ("redis", "postgres"):
            disks.put(name, world.take_down, world.bring_up)
        yield world
    finally:
        shut_down(house, steps.say)
        disks.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _unrestricted(program: Any) -> Any:
    return replace(program, command=f"{program.command} --unrestricted") if program.name == "redis" else program
