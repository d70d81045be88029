"""How every process starts and stops: the first signal asks, the second insists; one exit code per cause."""

import contextlib
import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from common.errors import ConfigError, Fenced
from common.log import get_logger, set_up_log
from common.settings import Settings

EXIT_CRASH = 1
EXIT_FENCED = 75
EXIT_CONFIG = 78
EXIT_INSISTED = 130

log = get_logger(__name__)


class Stop:
    """Asked by SIGTERM or SIGINT; loops look at it between two steps and finish what they hold."""

    def __init__(self) -> None:
        self._is_asked = False
        #: Open once asked. Not an Event: a signal that comes while `wait` is in it waits in `ask` for its lock, for ever.
        self._gate = threading.Lock()
        self._gate.acquire()

    def ask(self) -> None:
        """Ask the process to stop. From any thread, or from a signal in the middle of anything here."""
        self._is_asked = True
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is open
            self._gate.release()

    def requested(self) -> bool:
        """True once somebody asked."""
        return self._is_asked

    def wait(self, seconds: float) -> bool:
        """Sleep at most that long; True as soon as the process is asked to stop."""
        if self._gate.acquire(timeout=max(0.0, seconds)):
            self._open()  # for the next who waits
        return self._is_asked

    def on_signals(self) -> "Stop":
        """Listen to SIGTERM and SIGINT; the second one ends the process at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked:
            os._exit(EXIT_INSISTED)
        self.ask()


def run(name: str, main: Callable[[Settings, Stop], None]) -> NoReturn:
    """Run a process's `main(settings, stop)` and exit with the code that tells why it ended."""
    stop = Stop().on_signals()
    try:
        settings = Settings.from_env()
        set_up_log(name, settings.log_level)
        log.info("started, pid %d", os.getpid())
        main(settings, stop)
    except ConfigError as exc:
        sys.stderr.write(f"{name}: {exc}\n")
        sys.exit(EXIT_CONFIG)
    except Fenced as exc:
        log.warning("%s; another process goes on with the work, this one exits", exc)
        sys.exit(EXIT_FENCED)
    except Exception:
        log.exception("crashed; its supervisor starts it again")
        sys.exit(EXIT_CRASH)
    log.info("stopped")
    sys.exit(0)


def backoff_s(base_s: float = 0.1, cap_s: float = 5.0) -> Iterator[float]:
    """Delays that double up to `cap_s`, each with jitter between half and all of it; never ends."""
    ceiling_s = base_s
    while True:
        yield random.uniform(ceiling_s / 2, ceiling_s)
        ceiling_s = min(cap_s, ceiling_s * 2)


class Backoff:
    """When something that failed may be tried again: ever later, up to `cap_s`. Pure: `now_s` is the caller's, monotonic."""

    def __init__(self, base_s: float = 0.1, cap_s: float = 5.0) -> None:
        self._base_s, self._cap_s = base_s, cap_s
        self._due_s = -math.inf
        self.worked()

    def may_try(self, now_s: float) -> bool:
        """False until the wait after the last failure is over."""
        return now_s >= self._due_s

    def failed(self, now_s: float) -> float:
        """It failed at that moment; answers the seconds until it may be tried again."""
        delay_s = next(self._delays_s)
        self._due_s = now_s + delay_s
        return delay_s

    def worked(self) -> None:
        """The next failure is the first again."""
        self._delays_s = backoff_s(self._base_s, self._cap_s)
