"""How an instance starts: look whether it can, start the supervisor, wait until the routes answer."""

import os
import subprocess
import sys

from common.errors import GemsError
from common.settings import Settings
from ops.house import ROOT, House
from ops.servers.binaries import redis_program, service_user
from ops.servers.instance import free_port, instance_urls, move_taken_ports, port_is_free, read_instance, write_private
from ops.servers.postgres import check_version
from ops.shutdown import leftovers, shut_down
from ops.steps import Steps
from ops.supervision import Program, programs, render_supervisord
from ops.watch import asked_to_stop, stay, wait_ready


class CanNotStart(GemsError):
    """Why an instance does not start, and what to do about it."""


def start(house: House, settings: Settings, detach: bool) -> int:
    """Start an instance and return when its routes answer (`detach`), or else when it has been stopped again.

    Raises:
        GemsError: with a sentence that says what to do; nothing is left running.
    """
    steps = Steps()
    if "%" in f"{house.data_dir}{ROOT}":
        raise CanNotStart(f"supervisord can not take the percent sign in {house.data_dir}; choose another --data-dir.")
    _refuse_second(house)
    if leftovers(house):
        shut_down(house, steps.say)
    settings = with_free_ports(settings)
    _look_at_servers(house, settings)
    write_files(house, settings, programs(settings))
    steps.say(f"{'using' if (house.data_dir / 'postgres').exists() else 'making'} the data directory {house}")
    supervisord = start_supervisor(house)
    try:
        with asked_to_stop() as stop:
            wait_ready(house, supervisord, steps, stop)
            steps.welcome(house, house.dashboard(house.settings()), detach)
            return 0 if detach else stay(house, supervisord, steps, stop)
    except KeyboardInterrupt:
        shut_down(house, steps.say)
        steps.say(f"stopped; all data is still in {house}")
        return 0
    except GemsError:
        shut_down(house, steps.say)
        raise


def _refuse_second(house: House) -> None:
    if house.is_running():
        address = house.dashboard(house.settings())
        raise CanNotStart(
            f"This instance already runs: {address}\n"
            f"Stop it with ./gems down{house.option}, or start a second one with --data-dir and --port of its own."
        )


def with_free_ports(settings: Settings) -> Settings:
    """The settings, with another port for the simulated exchange where its default, the web's port + 1, is taken."""
    if not port_is_free(settings.host, settings.port):
        raise CanNotStart(
            f"Port {settings.port} of {settings.host} is taken by another program (a second instance may have its simulated "
            "exchange there); take another one with --port."
        )
    if settings.feed != "sim" or port_is_free("127.0.0.1", settings.sim_listen_port):
        return settings
    if settings.sim_port:
        raise CanNotStart(f"GEMS_SIM_PORT: port {settings.sim_port} of 127.0.0.1 is taken by another program; take another one.")
    return settings.model_copy(update={"sim_port": free_port()})


def _look_at_servers(house: House, settings: Settings) -> None:
    """Find out now, with a sentence, what would keep the embedded servers from starting."""
    if not settings.database_url:
        service_user()
        check_version(house.data_dir)
    if not settings.redis_url:
        found = read_instance(house.data_dir)
        redis_program(found.redis_origin if found else "", service_user())
    if not (settings.database_url and settings.redis_url):
        move_taken_ports(house.data_dir)


def write_files(house: House, settings: Settings, wanted: list[Program]) -> None:
    """Write what the supervisor reads, and remember the settings."""
    house.logs.mkdir(parents=True, exist_ok=True)
    text = render_supervisord(wanted, house.data_dir, house.socket, as_root=os.getuid() == 0)
    write_private(house.configuration, text)
    database_url, redis_url = instance_urls(settings)
    house.remember(settings.model_copy(update={"database_url": database_url, "redis_url": redis_url}))


def start_supervisor(house: House) -> "subprocess.Popen[bytes]":
    """Start the supervisor of written files, with the remembered settings and no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GEMS_", "SUPERVISOR_"))}
    environ |= {**house.settings().to_env(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(house.configuration)]
    with (house.logs / "supervisord.out").open("wb") as out:
        return subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
