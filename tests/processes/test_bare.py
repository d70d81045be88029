"""On servers of one's own: supervisord and a Procfile runner alone start everything, and stop it again."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ops.house import ROOT
from ops.migrate import migrate
from ops.servers.instance import free_port
from ops.servers.private import PrivateServers
from tests.processes.house import family, wait_until
from tests.servers import private_servers

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def own_servers() -> Iterator[PrivateServers]:
    """Servers that the user has."""
    with private_servers() as servers:
        yield servers


def _environ(servers: PrivateServers, feed: str, data_dir: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GEMS_DATABASE_URL": servers.postgres_url(f"bare_{free_port()}"),
        "GEMS_REDIS_URL": servers.redis_url(5),
        "GEMS_PORT": str(free_port()),
        "GEMS_SIM_PORT": str(free_port()),
        "GEMS_DATA_DIR": str(data_dir),
        "GEMS_HISTORY": "0",
        "GEMS_FEED": feed,
        "GEMS_BINANCE_WS_URL": "" if feed == "sim" else "ws://127.0.0.1:9",
        "GEMS_BINANCE_REST_URL": "" if feed == "sim" else "http://127.0.0.1:9",
    }


def _runs_and_stops(command: list[str], environ: dict[str, str], log: Path, expected: set[str]) -> set[str]:
    """Start, wait for the routes and the expected modules, stop; answers the modules that ran."""
    with log.open("wb") as out:
        runner = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    children: list[psutil.Process] = []
    try:
        wait_until(lambda: _answers(environ["GEMS_PORT"]), 90, f"answer; {command[0]} said {log.read_text()[-3000:]}")
        assert runner.poll() is None, log.read_text()
        wait_until(lambda: _modules(runner.pid) >= expected, 60, f"process of {expected}; {log.read_text()[-3000:]}")
        children, modules = family(runner.pid)[1:], _modules(runner.pid)
    finally:
        runner.send_signal(signal.SIGTERM)
        runner.wait(timeout=90)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    return modules


def _answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/ingestion/stats/", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _modules(pid: int) -> set[str]:
    """What `python -m` runs below a process."""
    found = set()
    for process in family(pid)[1:]:
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            found |= {line[line.index("-m") + 1]} if "-m" in line else set()
    return found


PIPELINE = {"aggregator", "aggregator.tasks", "consumer", "producer", "producer.importer", "gunicorn"}


@pytest.mark.parametrize(("feed", "sim"), [("sim", "ops.exchange"), ("binance", "ops.procfile")])
def test_supervisord_alone(own_servers: PrivateServers, tmp_path: Path, feed: str, sim: str) -> None:
    conf = tmp_path / "supervisord.conf"
    text = (ROOT / "supervisord.conf").read_text()
    text = text.replace("%(here)s/supervisor", str(own_servers.data_dir / "bare")).replace("%(here)s", str(ROOT))
    conf.write_text(text)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
    ran = _runs_and_stops(command, _environ(own_servers, feed, tmp_path), tmp_path / "out.log", PIPELINE | {sim})
    assert ("ops.exchange" in ran) == (feed == "sim")


def test_a_procfile_runner_alone(own_servers: PrivateServers, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "honcho", "-f", str(ROOT / "Procfile"), "start"]
    _runs_and_stops(command, _environ(own_servers, "sim", tmp_path), tmp_path / "out.log", PIPELINE | {"ops.exchange"})


def test_migrations_at_once_do_not_collide(own_servers: PrivateServers) -> None:
    url = own_servers.postgres_url("at_once")
    environ = {**os.environ, "GEMS_DATABASE_URL": url, "GEMS_REDIS_URL": own_servers.redis_url()}
    running = [
        subprocess.Popen([sys.executable, "-m", "ops.migrate"], cwd=ROOT, env=environ, stderr=subprocess.PIPE) for _ in range(3)
    ]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    migrate(url)
