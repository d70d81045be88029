"""The processes of GEMS, defined once: what `./gems up`, the checked-in supervisord.conf and the Procfile start.

Nothing waits for its turn at start: every process waits by itself for Redis, PostgreSQL and the tables. At the stop
the order is the order of the data: who lets it in first, who keeps it last.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program under supervision; `stage` orders the stop, the highest first."""

    name: str
    #: Module and arguments after `python -m`; `{n}` is the number of the process.
    command: str
    stage: int
    #: How many processes `<name>_<n>`; 0: one, named as the program.
    count: int = 0
    stop_signal: str = "TERM"
    stop_wait_s: int = 20
    #: Done when it has exited with 0.
    once: bool = False

    def process_names(self) -> list[str]:
        """The names of its processes."""
        return [f"{self.name}_{n}" for n in range(self.count)] if self.count else [self.name]


def programs(settings: Settings) -> list[Program]:
    """What these settings start: embedded servers where no URL is given, the simulated exchange for the feed `sim`."""
    postgres = Program(name="postgres", command="ops.embedded postgres", stage=10, stop_signal="INT", stop_wait_s=60)
    redis = Program(name="redis", command="ops.embedded redis", stage=20, stop_wait_s=60)
    sim = Program(name="sim", command="ops.exchange", stage=70)
    return [
        *([] if settings.database_url else [postgres]),
        *([] if settings.redis_url else [redis]),
        Program(name="migrate", command="ops.migrate", stage=30, once=True),
        Program(name="notifier", command="aggregator.notifier", stage=35),
        Program(name="tasks", command="aggregator.tasks", stage=40),
        Program(name="aggregator", command="aggregator --shard {n}", stage=40, count=settings.shards),
        Program(name="writer", command="consumer --worker {n}", stage=50, count=settings.writers),
        Program(name="importer", command="producer.importer", stage=60),
        Program(name="producer", command="producer", stage=60),
        *([sim] if settings.feed == "sim" else []),
        Program(name="web", command="gunicorn --config web/gunicorn.conf.py --no-control-socket web.wsgi:app", stage=70),
    ]


def render_supervisord(wanted: list[Program], folder: Path, socket: Path, as_root: bool) -> str:
    """A supervisord.conf for one instance; logs, pid file and itself live in `folder`."""
    head = f"""\
[supervisord]
nodaemon=true
silent=true
directory={ROOT}
logfile={folder / "log/supervisord.log"}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={folder / "supervisord.pid"}
childlogdir={folder / "log"}
{"user=root" if as_root else ""}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(_section(program, folder / "log") for program in wanted)


def _section(program: Program, logs: Path) -> str:
    numbered = program.count > 0
    process_name = "%(program_name)s_%(process_num)d" if numbered else "%(program_name)s"
    command = shlex.join([sys.executable, "-m", *program.command.split()]).replace("'{n}'", "%(process_num)d")
    # A restart that fails at once is tried again after 1, 2, 3 ... seconds, for more than an hour. Bad settings
    # (exit code 78) are the one thing that trying again can not mend.
    return f"""
[program:{program.name}]
command={command}
process_name={process_name}
numprocs={program.count or 1}
priority={program.stage}
autorestart=unexpected
exitcodes={"0,78" if program.once else "78"}
startsecs={0 if program.once else 1}
startretries=100
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{process_name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""
