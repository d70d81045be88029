"""The first thing `./gems` runs, with the standard library only: makes .venv, installs what is pinned, hands over.

What is installed is remembered as a checksum of the requirement files, so that a second start does nothing here.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
#: Commands that need what tests need.
_FOR_DEVELOPERS = ("test", "check")
#: Big packages carry tests that nobody runs here; compiling them would double the time.
_NOT_COMPILED = r"[/\\]tests?[/\\]"


def main(arguments: list[str]) -> None:
    """Install if needed, then become `python -m ops`."""
    names = ["requirements.txt"]
    if arguments[:1] and arguments[0] in _FOR_DEVELOPERS:
        names.append("requirements-dev.txt")
    if sys.prefix != str(VENV) or _missing(names):
        _install(names)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-P", "-m", "ops", *arguments])


def _has_venv() -> bool:
    """True if .venv's Python and pip work; a Python that was removed or replaced leaves a dangling one."""
    return _output([str(PYTHON), "-m", "pip", "--version"]).returncode == 0


def _missing(names: list[str]) -> list[str]:
    """Requirement files that are not installed as they are now."""
    stamps = {name: VENV / f".installed-{name}" for name in names}
    return [name for name, stamp in stamps.items() if not stamp.exists() or stamp.read_text() != _checksum(name)]


def _checksum(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


def _install(names: list[str]) -> None:
    began_s = time.monotonic()
    lock = _take_lock()  # held until this process becomes the next one
    if not _has_venv():
        _make_venv()
    wanted = _missing(names)
    if not wanted:
        return
    _run_pip(wanted)
    _compile()
    for name in wanted:
        (VENV / f".installed-{name}").write_text(_checksum(name))
    lock.close()
    _say(f"installed in {time.monotonic() - began_s:.0f} s")


def _take_lock() -> TextIO:
    try:
        VENV.mkdir(exist_ok=True)
        lock = (VENV / ".lock").open("w")
    except OSError as exc:
        sys.exit(f"gems: {VENV} can not be written ({exc.strerror}); run as its owner, or clone to a folder of your own")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another ./gems is installing; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _make_venv() -> None:
    _say(f"making .venv with Python {sys.version.split()[0]} ({sys.executable})")
    _clear_venv()
    done = _output([sys.executable, "-m", "venv", str(VENV)])
    if done.returncode:
        _clear_venv()  # without pip in it, it would pass for a good one next time
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.exit(
            f"{done.stdout.strip()}\ngems: this Python can not make a venv; "
            f"on Debian and Ubuntu: apt install python3-venv (or {package}), then run ./gems again"
        )


def _clear_venv() -> None:
    for old in VENV.iterdir():
        if old.name != ".lock":
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()


def _run_pip(names: list[str]) -> None:
    files = [part for name in names for part in ("-r", name)]
    total = sum(bool(line[:1].isalpha()) for name in names for line in (ROOT / name).read_text().splitlines())
    what = f"installing {total} packages of {' and '.join(names)}"
    _say(f"{what} (a minute or two, once)")
    command = [str(PYTHON), "-m", "pip", "install", "--no-compile", "--disable-pip-version-check", "--no-input"]
    said, found = [], 0
    with subprocess.Popen([*command, *files], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            said.append(line)
            found += line.startswith(("Collecting ", "Requirement already "))
            _show(f"unpacking {total} packages" if line.startswith("Installing ") else f"fetching {found} of {total}")
    _show("")
    if pip.returncode:
        sys.exit("".join(said) + f"gems: pip could not install {' and '.join(names)}; the reason is above")


def _compile() -> None:
    """Byte-compile on all cores what runs: pip would do it on one, and tests too; left undone, each process would do it."""
    _show("preparing the packages")
    _output([str(PYTHON), "-m", "compileall", "-q", "-j", "0", "-x", _NOT_COMPILED, str(VENV / "lib")])
    _show("")


def _output(command: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as exc:
        return subprocess.CompletedProcess(command, 127, stdout=str(exc))


def _show(line: str) -> None:
    """A passing line on a terminal, over the one before; nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{'gems: ' + line if line else ''}")
        sys.stderr.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"gems: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("\ngems: stopped; the next ./gems goes on installing")
