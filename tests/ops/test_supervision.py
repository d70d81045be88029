"""The processes are defined once; the checked-in supervisord.conf and the Procfile say the same."""

import configparser
import re
from pathlib import Path

import pytest

from common.settings import Settings
from ops.supervision import ROOT, programs, render_supervisord

OWN_SERVERS = Settings.from_env({}, database_url="postgresql://db/gems", redis_url="redis://cache/0")


def _sections(text: str) -> dict[str, configparser.SectionProxy]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(" ;",))
    parser.read_string(text)
    return {name.partition(":")[2]: parser[name] for name in parser.sections() if name.startswith("program:")}


def _rendered(settings: Settings) -> dict[str, configparser.SectionProxy]:
    return _sections(render_supervisord(programs(settings), Path("/tmp/x"), Path("/tmp/x/supervisor.sock"), as_root=False))


def _comparable(command: str) -> str:
    """Without the interpreter, and the two wrappers of ops/procfile.py as what they start."""
    command = re.sub(r"^\S*python\S* -m ", "", command)
    return {"ops.procfile migrate": "ops.migrate", "ops.procfile sim": "ops.exchange"}.get(command, command)


def test_the_checked_in_supervisord_conf_starts_what_up_starts() -> None:
    checked_in = _sections((ROOT / "supervisord.conf").read_text())
    rendered = _rendered(OWN_SERVERS)
    assert list(checked_in) == list(rendered)
    for name, section in rendered.items():
        other = dict(checked_in[name])
        assert _comparable(other.pop("command")) == _comparable(section["command"])
        ours = {key: value for key, value in section.items() if key != "command"}
        assert _without_logs(other) == _without_logs(ours)


def test_the_procfile_starts_what_up_starts() -> None:
    lines = [line.partition(": ") for line in (ROOT / "Procfile").read_text().splitlines() if line.strip()]
    expected = {
        name: program.command.replace("{n}", name.rpartition("_")[2])
        for program in programs(OWN_SERVERS)
        for name in program.process_names()
    }
    assert {name: _comparable(command) for name, _, command in lines} == expected


def test_own_servers_leave_out_the_embedded_ones() -> None:
    embedded = {"postgres", "redis"}
    names = {program.name for program in programs(Settings.from_env({}))}
    assert embedded <= names
    assert names - {program.name for program in programs(OWN_SERVERS)} == embedded


def test_another_feed_leaves_out_the_simulated_exchange() -> None:
    names = {program.name for program in programs(OWN_SERVERS.model_copy(update={"feed": "binance"}))}
    assert "sim" not in names


def test_settings_number_the_processes() -> None:
    many = {program.name: program for program in programs(OWN_SERVERS.model_copy(update={"writers": 3, "shards": 2}))}
    assert many["writer"].process_names() == ["writer_0", "writer_1", "writer_2"]
    assert many["aggregator"].process_names() == ["aggregator_0", "aggregator_1"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("web", "writer"),
        ("sim", "producer"),
        ("producer", "writer"),
        ("importer", "writer"),
        ("writer", "redis"),
        ("redis", "postgres"),
    ],
)
def test_the_stop_follows_the_data(earlier: str, later: str) -> None:
    stage = {program.name: program.stage for program in programs(Settings.from_env({}))}
    assert stage[earlier] > stage[later]


def _without_logs(section: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in section.items() if not key.startswith("stdout_logfile")}
