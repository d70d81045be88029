"""`python -m common.apprise_child`: a process that speaks apprise, and can reach nothing that alerts may not reach.

A line of JSON in, a line of JSON out, until its input ends. It is a process of its own because apprise's ninety-odd services
open their connections by themselves: an audit hook sees each of them just before it is made, whatever library makes it;
a parent can end it at a deadline; and neither the web nor the notifier carries apprise in its memory.

In: `{"do": "check" | "send", "url", "title"?, "text"?}`; out: `{"ok", "error"?, "refused"?}`.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from common.egress import check_address, resolve
from common.errors import ReceiverRejected
from common.receivers import apprise_scheme, without_secrets

#: Schemes that speak to the desktop or the system log of this machine.
LOCAL_SCHEMES = frozenset({"dbus", "gnome", "glib", "kde", "qt", "macosx", "windows", "syslog"})
MEMORY_BYTES = 1 << 30
_ROOT = Path(__file__).resolve().parents[1]
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TZ")
_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn")


class Child:
    """The parent's end: ask, and end it when it is late or no longer needed."""

    def __init__(self, allow_private: bool) -> None:
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        arguments = [sys.executable, "-P", "-m", "common.apprise_child", "private" if allow_private else "public"]
        self._process = subprocess.Popen(
            arguments, cwd=_ROOT, env={**environ, "PYTHONPATH": str(_ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
        )  # fmt: skip

    def ask(self, question: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Its answer; what it can not say in time ends it.

        Raises:
            TimeoutError: it did not answer in time, or ended.
        """
        assert self._process.stdin and self._process.stdout
        alarm = threading.Timer(timeout_s, self._process.kill)
        alarm.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        if not line:
            raise TimeoutError(f"apprise gave no answer within {timeout_s:g} s, or ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """It is gone afterwards."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()


class Guard:
    """The audit hook: what is refused raises where it would have happened, and is remembered."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self.refused = ""

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """Look at an audit event of this process."""
        if event in _STARTS:
            self._refuse("it may not start programs")
        if event in _CONNECTS and len(args) > 1 and args[1] is not None:
            self._look_at(args[0], args[1])

    def _look_at(self, sock: Any, address: Any) -> None:
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            self._refuse("only internet addresses can be reached")
        try:
            check_address(str(address[0]), self._allow_private)
        except ReceiverRejected as exc:
            self._refuse(str(exc))
        except ValueError:  # a name: it would be resolved after this look
            self._refuse("a connection by name, which could go anywhere")

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        raise PermissionError(reason)


class Complaints(logging.Handler):
    """The last thing that apprise said of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.last = record.getMessage()


def serve(allow_private: bool) -> None:
    """Answer questions until the input ends."""
    import apprise

    complaints, guard = Complaints(), Guard(allow_private)
    logging.getLogger("apprise").addHandler(complaints)
    logging.getLogger("apprise").propagate = False
    sys.addaudithook(guard)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a service prints is no answer
    for line in sys.stdin:
        complaints.last = guard.refused = ""
        question = json.loads(line)
        try:
            answer = _answer(apprise, question, allow_private)
        except ReceiverRejected as exc:
            answer = {"ok": False, "refused": True, "error": str(exc)}
        except Exception as exc:  # whatever a service's code throws, its message was not taken
            answer, complaints.last = {"ok": False}, complaints.last or f"{type(exc).__name__}: {exc}"
        if not answer["ok"] and "error" not in answer:
            told = without_secrets(complaints.last or "the service did not take it", question["url"])[:300]
            answer |= {"refused": bool(guard.refused), "error": guard.refused or told}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(apprise: Any, question: dict[str, Any], allow_private: bool) -> dict[str, Any]:
    service = _service(apprise, question["url"])
    if question["do"] == "check":
        _check_host(service, allow_private)
        return {"ok": True}
    return {"ok": bool(service.notify(body=question["text"], title=question.get("title", "")))}


def _service(apprise: Any, url: str) -> Any:
    scheme = apprise_scheme(url)
    if scheme in LOCAL_SCHEMES:
        raise ReceiverRejected(f"{scheme}:// speaks to this machine's own desktop or log, and is not offered")
    service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if service is None:
        raise ReceiverRejected(f"apprise can not read this {scheme}:// URL; see its page of that service")
    if not service.enabled:
        raise ReceiverRejected(f"{scheme}:// needs a library that is not installed")
    return service


def _check_host(service: Any, allow_private: bool) -> None:
    """Where the URL names a host (in many it is a token), it must be one we may reach; looked at again when it connects."""
    host = getattr(service, "host", None)
    if not host or "host" not in type(service).template_tokens:
        return
    try:
        resolve(host, getattr(service, "port", None) or 443, allow_private)
    except OSError as exc:
        raise ReceiverRejected("the host of this URL can not be resolved now") from exc


if __name__ == "__main__":
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(allow_private=sys.argv[1:] == ["private"])
