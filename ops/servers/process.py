"""How a wrapper turns into a server: one at a time on a folder, without root, and never outliving its supervisor."""

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from common.errors import ConfigError
from ops.servers.binaries import User, can_enter

_PR_SET_PDEATHSIG = 1
_LOCK_WAIT_S = 60.0


def hold_lock(path: Path) -> int:
    """Take a lock that stays with the server (and its children) through exec; answers its descriptor.

    A predecessor that is still shutting down, or backends that have just lost their parent, hold it for a moment.

    Raises:
        ConfigError: somebody still holds it after a minute.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise ConfigError(f"another server has held {path} for a minute; stop it with ./gems down") from exc
            time.sleep(0.05)
        else:
            os.set_inheritable(lock, True)
            os.ftruncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
            return lock


def lock_owner(path: Path) -> int | None:
    """The process that holds the lock; None if nobody does."""
    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(lock, 20) or 0) or None
    finally:
        os.close(lock)
    return None


def make_folder(folder: Path, user: User | None) -> None:
    """A folder of the server's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user:
        os.chown(folder, user.uid, user.gid)


def path_for(folder: Path, user: User | None) -> str:
    """How the server, standing in its folder, names it: a folder below a private home can not be reached by its path."""
    if user is None or can_enter(folder, user):
        return str(folder)
    return "/proc/self/cwd"


def become(user: User | None, last_signal: signal.Signals) -> None:
    """Give up root, then ask the kernel for `last_signal` when our parent dies (Linux; a change of user would clear it)."""
    parent = os.getppid()
    if user:
        os.setgroups([])
        os.setgid(user.gid)
        os.setuid(user.uid)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(0)
