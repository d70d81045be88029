"""`./gems up` and `down` with real processes: the routes answer, what is killed comes back, nothing stays behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common.settings import Settings
from ops.bootstrap import _missing
from ops.house import ROOT
from ops.servers.instance import free_port, port_is_free
from ops.startup import with_free_ports
from tests.processes.house import Instance, an_instance, family, wait_until

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

ALL = {
    *("aggregator_0", "importer", "migrate", "notifier", "postgres", "producer", "redis", "sim", "tasks"),
    *("web", "writer_0", "writer_1"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    """One instance for the tests that leave it running."""
    with an_instance() as instance:
        instance.up()
        yield instance


def test_all_processes_run_and_the_routes_answer(running: Instance) -> None:
    def all_run() -> bool:
        states = {name: process["state"] for name, process in running.processes().items()}
        return states == {name: "exited" if name == "migrate" else "running" for name in ALL}

    wait_until(all_run, 60, "state in which all run")
    wait_until(lambda: answers(running), 60, "answer of a web that was killed a moment ago")


def answers(running: Instance) -> bool:
    try:
        with urllib.request.urlopen(f"{running.url}/api/ingestion/stats/", timeout=60) as answer:
            return bool(answer.status == 200)
    except (ConnectionError, urllib.error.URLError):
        return False


def test_trades_flow_into_the_database(running: Instance) -> None:
    wait_until(lambda: running.status()["ticks"], 60, "tick stored")
    asked = running.run("psql", "--", "-At", "-c", "SELECT count(*) > 0 FROM raw_ticks")
    assert asked.stdout == "t\n"


def test_redis_cli_shows_the_writers(running: Instance) -> None:
    def asked() -> str:
        return running.run("redis-cli", "--", "XINFO", "GROUPS", "trades").stdout

    assert wait_until(lambda: "writers" in asked(), 60, "group of writers")


def test_a_second_up_on_the_same_data_directory_is_refused(running: Instance) -> None:
    refused = running.run("up", "-d")
    assert refused.returncode == 1
    assert "already runs" in refused.stdout and "./gems down" in refused.stdout


@pytest.mark.parametrize("name", ["writer_0", "web", "redis", "postgres"])
def test_a_killed_process_comes_back(running: Instance, name: str) -> None:
    before = wait_until(lambda: running.processes()[name]["pid"], 60, f"running {name}")
    os.kill(before, signal.SIGKILL)

    def is_back() -> bool:
        process = running.processes()[name]
        return process["state"] == "running" and process["pid"] != before and not running.status()["away"]

    wait_until(is_back, 60, f"{name} after kill -9")


def test_a_taken_port_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with an_instance() as instance, socket.create_server(("127.0.0.1", instance.port)):
        refused = instance.run("up", "-d")
        assert refused.returncode == 1
        assert f"Port {instance.port} of 127.0.0.1 is taken" in refused.stdout and "--port" in refused.stdout
        assert not (instance.data_dir / "instance.json").exists()


def test_the_simulated_exchange_gives_way_where_its_default_port_is_taken() -> None:
    web = next(port for port in iter(free_port, None) if port_is_free("127.0.0.1", port + 1))
    settings = Settings.from_env({}, port=web)
    with socket.create_server(("127.0.0.1", web + 1)):
        assert with_free_ports(settings).sim_listen_port != web + 1
    assert with_free_ports(settings) == settings


def test_a_percent_sign_in_the_path_is_refused_with_a_sentence(tmp_path: Path) -> None:
    refused = Instance(tmp_path / "100%").run("up", "-d")
    assert refused.returncode == 1 and "percent sign" in refused.stdout


def test_bad_settings_are_told_all_at_once() -> None:
    with an_instance(GEMS_WRITERS="many", GEMS_FEEDS="sim") as instance:
        refused = instance.run("up", "-d", "--timeframes", "7s")
        assert refused.returncode == 78
        assert all(name in refused.stdout for name in ("GEMS_WRITERS", "GEMS_FEEDS", "GEMS_TIMEFRAMES"))


def test_commands_on_an_instance_that_was_never_started_say_so() -> None:
    with an_instance() as instance:
        for name in ("status", "psql", "redis-cli", "logs"):
            refused = instance.run(name)
            assert refused.returncode == 1 and "./gems up" in refused.stdout
        assert instance.run("down").returncode == 0


def lives(process: psutil.Process) -> bool:
    """False also of one that has ended and whose parent has not asked for its exit code yet."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_down_leaves_nothing_and_a_second_start_has_the_data() -> None:
    with an_instance() as instance:
        instance.up()
        wait_until(lambda: instance.status()["ticks"], 60, "tick stored")
        supervisor = int((instance.data_dir / "supervisord.pid").read_text())
        before = family(supervisor)
        assert instance.run("down").returncode == 0
        assert [process for process in before if lives(process)] == []

        began_s = time.monotonic()
        instance.up()
        assert time.monotonic() - began_s < 120  # under 10 s where the machine has nothing else to do
        assert instance.status()["ticks"] > 0


def test_down_stops_what_a_killed_supervisor_left() -> None:
    with an_instance() as instance:
        instance.up()
        supervisor = int((instance.data_dir / "supervisord.pid").read_text())
        left = family(supervisor)[1:]
        os.kill(supervisor, signal.SIGKILL)
        stopped = instance.run("down")
        assert stopped.returncode == 0, stopped.stdout
        _, alive = psutil.wait_procs(left, timeout=60)
        assert alive == []


def test_ctrl_c_stops_the_foreground_in_the_order_of_the_data() -> None:
    with an_instance() as instance:
        up = subprocess.Popen(
            instance.command("up"), env=instance.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert up.stdout is not None
        for line in up.stdout:
            if "Ctrl-C stops it" in line:
                break
        children = family(int((instance.data_dir / "supervisord.pid").read_text()))
        up.send_signal(signal.SIGINT)
        said = up.stdout.read()
        up.stdout.close()
        assert up.wait(timeout=60) == 0
        order = [said.index(f"stopping {name}") for name in ("sim, web", "importer, producer", "writer_0", "redis", "postgres")]
        assert order == sorted(order)
        assert [process for process in children if lives(process)] == []


def test_the_launcher_works_from_anywhere_without_a_home() -> None:
    if sys.prefix != str(ROOT / ".venv") or _missing(["requirements.txt"]):
        pytest.skip("run by ./gems test, which has made .venv")
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    said = subprocess.run([ROOT / "gems", "--help"], cwd="/", env=bare, capture_output=True)
    assert b"Commands:" in said.stdout
