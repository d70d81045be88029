"""Watching an instance: until its routes answer, and then until it is stopped."""

import signal
import subprocess
import time
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, NoReturn

import psycopg2
import redis

from common.database import connect_database
from common.errors import GemsError
from common.lifecycle import EXIT_CONFIG, Stop
from common.settings import Settings
from common.streams import connect_redis
from ops.house import House, NotRunning
from ops.steps import Steps

_READY_S = 180.0


class DidNotStart(GemsError):
    """A process can not run; with the end of its log."""


def wait_ready(house: House, supervisord: "subprocess.Popen[bytes]", steps: Steps, stop: Stop) -> None:
    """Return when the routes of the web answer.

    Raises:
        KeyboardInterrupt: somebody asked to stop.
        DidNotStart: the supervisor or a process has given up, or three minutes have passed.
    """
    settings = house.settings()
    milestones: dict[str, Callable[[], str]] = {
        "Redis": lambda: _redis_answers(settings),
        "PostgreSQL": lambda: _postgres_answers(settings),
        "tables": lambda: _migrated(house),
        "dashboard": lambda: _web_answers(house.dashboard(settings)),
    }
    deadline = time.monotonic() + _READY_S
    for what, reached in milestones.items():
        steps.waiting(what)
        while not (answer := reached()):
            if time.monotonic() > deadline:
                raise DidNotStart(f"{what}: no answer within {_READY_S:.0f} s; ./gems logs{house.option} says more")
            _raise_if_given_up(house, supervisord)
            pause(stop, 0.1)
        steps.say(f"{what}: {answer}")


def stay(house: House, supervisord: "subprocess.Popen[bytes]", steps: Steps, stop: Stop) -> int:
    """Tell what ends and comes back, until the supervisor itself has ended; answers the exit code.

    Raises:
        KeyboardInterrupt: somebody asked to stop.
    """
    known = _pids(house)
    while supervisord.poll() is None:
        pause(stop, 1.0)
        now = _pids(house)
        for name in now.keys() & known.keys():
            if known[name] and now[name] and now[name] != known[name]:
                steps.say(f"{name} has ended and was started again; ./gems logs {name}{house.option} says why")
        known = {**known, **{name: pid for name, pid in now.items() if pid}}
    if supervisord.returncode:
        raise DidNotStart(f"the supervisor has ended with {supervisord.returncode}; {house.logs}/supervisord.log says more")
    steps.say("stopped by ./gems down")
    return 0


def pause(stop: Stop, seconds: float) -> None:
    """Where Python drops the exception of a signal (it came in a `__del__`, say), this is where it is heard."""
    if stop.wait(seconds):
        raise KeyboardInterrupt


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Turn SIGTERM and a closed terminal into KeyboardInterrupt, and let none of them break into the stopping."""

    def ask(number: int, frame: FrameType | None) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        stop.ask()
        raise KeyboardInterrupt

    stop, numbers = Stop(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in numbers:
        signal.signal(each, ask)
    yield stop


def _redis_answers(settings: Settings) -> str:
    """Which server it is; empty while it does not answer."""
    try:
        with connect_redis(settings, socket_timeout=5) as client:
            found = client.info("server")
    except redis.RedisError:
        return ""
    valkey = found.get("valkey_version")
    return f"Valkey {valkey} answers" if valkey else f"Redis {found.get('redis_version')} answers"


def _postgres_answers(settings: Settings) -> str:
    try:
        with closing(connect_database(settings, "up")) as connection:
            major, minor = divmod(connection.server_version, 10_000)
    except psycopg2.OperationalError as exc:
        # The database itself is made by the migration, the next step.
        return "answers" if "does not exist" in str(exc) else ""
    return f"version {major}.{minor} answers"


def _migrated(house: House) -> str:
    found = _processes(house).get("migrate", {})
    return "up to date" if found.get("statename") == "EXITED" and found.get("exitstatus") == 0 else ""


def _web_answers(address: str) -> str:
    try:
        with urllib.request.urlopen(f"{address}api/ingestion/stats/", timeout=5) as answer:
            return "answers" if answer.status == 200 else ""
    except OSError:
        return ""


def _raise_if_given_up(house: House, supervisord: "subprocess.Popen[bytes]") -> None:
    if supervisord.poll() is not None:
        raise DidNotStart(f"the supervisor has ended: {(house.logs / 'supervisord.out').read_text()[-2000:].strip()}")
    for name, found in _processes(house).items():
        refused = found["statename"] == "EXITED" and found["exitstatus"] == EXIT_CONFIG
        if refused or found["statename"] == "FATAL":
            raise DidNotStart(f"{name} can not run; the end of its log:\n{house.log_tail(name)}")


def _processes(house: House) -> dict[str, dict[str, Any]]:
    """What the supervisor says of each process; nothing while it does not answer."""
    try:
        return {found["name"]: found for found in house.supervisor().getAllProcessInfo()}
    except (NotRunning, OSError, xmlrpc.client.Error):
        return {}


def _pids(house: House) -> dict[str, int]:
    return {name: found["pid"] for name, found in _processes(house).items()}
