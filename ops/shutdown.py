"""How an instance stops: stage by stage in the order of the data, and nothing of it stays behind."""

import os
import signal
import time
import xmlrpc.client
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import psutil

from common.errors import GemsError
from ops.house import House, NotRunning
from ops.servers.process import lock_owner

_ENDED = {"STOPPED", "EXITED", "FATAL"}
_SUPERVISOR_STOP_S = 90.0
_FORCE_AFTER_S = 20.0

Tell = Callable[[str], None]


class StillThere(GemsError):
    """Something of an instance could not be stopped."""


def shut_down(house: House, tell: Tell) -> bool:
    """Stop everything of an instance; False if nothing of it was there.

    Raises:
        StillThere: a process belongs to another user, or survived SIGKILL.
    """
    found = stop_supervisor(house, tell)
    left = leftovers(house)
    if left:
        tell(f"stopping what a supervisor left behind: {', '.join(sorted({name for name, _ in left}))}")
        _end(left)
    return found or bool(left)


def stop_supervisor(house: House, tell: Tell) -> bool:
    """Stop all processes by stages, then the supervisor itself; False if none answers."""
    try:
        supervisor = house.supervisor()
    except NotRunning:
        return False
    pid = supervisor.getPID()
    try:
        for _, stage in _stages(supervisor):
            _stop_stage(supervisor, stage, tell)
        supervisor.shutdown()
    except (OSError, xmlrpc.client.Error):
        pass  # somebody else is stopping it too; what counts is that it goes
    try:
        psutil.Process(pid).wait(_SUPERVISOR_STOP_S)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired as exc:
        raise StillThere(f"the supervisor (pid {pid}) has not ended within {_SUPERVISOR_STOP_S:.0f} s") from exc
    return True


def leftovers(house: House) -> list[tuple[str, psutil.Process]]:
    """Processes of an instance whose supervisor is gone, as (name, process): those it started, and the servers."""
    mark = f"unix://{house.socket}"
    found = [(name, process) for name, process in _marked(mark) if process.pid != os.getpid()]
    for name in ("postgres", "redis"):
        pid = lock_owner(house.data_dir / f"{name}.lock")
        if pid is not None and psutil.pid_exists(pid):
            found.append((name, psutil.Process(pid)))
    return found


def _marked(mark: str) -> Iterable[tuple[str, psutil.Process]]:
    """Processes in whose environment supervisord left its own address."""
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.Error, OSError):
            continue
        if environ.get("SUPERVISOR_SERVER_URL") == mark:
            yield environ.get("SUPERVISOR_PROCESS_NAME", "?"), process


def _stages(supervisor: Any) -> list[tuple[int, list[str]]]:
    """Names of the processes by stage, in the order of stopping."""
    listed = [(-entry["group_prio"], f"{entry['group']}:{entry['name']}") for entry in supervisor.getAllConfigInfo()]
    return [(stage, [name for _, name in entries]) for stage, entries in groupby(sorted(listed), key=lambda entry: entry[0])]


def _stop_stage(supervisor: Any, names: list[str], tell: Tell) -> None:
    running = [name for name in names if supervisor.getProcessInfo(name)["statename"] not in _ENDED]
    if not running:
        return
    tell(f"stopping {', '.join(name.partition(':')[2] for name in running)}")
    for name in running:
        try:
            supervisor.stopProcess(name, False)
        except xmlrpc.client.Fault:
            continue  # it ended by itself in this moment
    while any(supervisor.getProcessInfo(name)["statename"] not in _ENDED for name in running):
        time.sleep(0.05)  # supervisord kills what outstays its stopwaitsecs, so this ends


def _end(left: list[tuple[str, psutil.Process]]) -> None:
    """Ask each to stop; SIGKILL for what is still there after a while."""
    for name, process in left:
        _signal(process, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs([process for _, process in left], timeout=_FORCE_AFTER_S)
    for process in alive:
        _signal(process, signal.SIGKILL)
    _, alive = psutil.wait_procs(alive, timeout=_FORCE_AFTER_S)
    if alive:
        raise StillThere(f"processes {', '.join(str(process.pid) for process in alive)} do not end")


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as exc:
        raise StillThere(f"process {process.pid} belongs to another user; stop it as that user") from exc
