"""The pages say what is there: every setting, command and route is in them, links lead somewhere, curl lines work."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from common.alertkinds import KINDS
from common.settings import Settings
from common.timeframes import TIMEFRAMES_S
from ops.cli import COMMANDS, gems
from ops.house import ROOT
from ops.settings_page import PAGE, page
from tests.web.rows import add_bars, add_pair_rows, add_scan, add_stats, second
from web.app import close_app, create_app

README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ALL_TEXT = "\n".join(path.read_text() for path in PAGES)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CURL = re.compile(r"^curl .*$", re.MULTILINE)


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m ops.settings_page"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_sentence(name: str) -> None:
    text = PAGE.read_text()
    assert f"| `GEMS_{name.upper()}` |" in text
    assert f"| {Settings.model_fields[name].description} |" in text


def test_every_setting_that_a_page_names_exists() -> None:
    known = {f"GEMS_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bGEMS_[A-Z_]*[A-Z]\b", ALL_TEXT))
    assert named <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    command = gems.get_command(click.Context(gems), name)
    assert command
    names = [f"{name} {inner}" for inner in command.commands] if isinstance(command, click.Group) else [name]
    for each in names:
        assert f"./gems {each}" in README


def test_every_option_of_up_that_a_page_shows_exists() -> None:
    up = gems.get_command(click.Context(gems), "up")
    assert up
    shown = {option for line in re.findall(r"\./gems up[^\n`&]*", ALL_TEXT) for option in re.findall(r"(?<!\S)--?[a-z-]+", line)}
    assert shown <= {option for parameter in up.params for option in parameter.opts}


def test_every_route_is_in_the_readme(app: Flask) -> None:
    named = set(re.findall(r"`([A-Z]+) (/[^`]*)`", README))
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/") or rule.endpoint.startswith(("docs.", "api-docs")):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert named & {(method, path), (method, path + "/"), (method, path.rstrip("/"))}, f"{method} {path}"
    for path in ("/api/openapi.json", "/api/docs/", "/healthz"):
        assert path in README


def test_every_alert_type_and_timeframe_is_documented() -> None:
    for name in KINDS:
        assert f"`{name}`" in README
    assert " ".join(TIMEFRAMES_S) in PAGE.read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(path.read_text()):
        address, _, anchor = target.partition("#")
        if "://" in target:
            continue
        found = (path.parent / address).resolve() if address else path
        assert found.exists(), target
        if anchor:
            assert anchor in _anchors(found.read_text()), target


def _anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text()
    for path in folder.glob("[0-9]*.md"):
        text = path.read_text()
        assert f"({path.name})" in listed
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "What hurts", "Options", "Choice", "What would change our mind",
        ]  # fmt: skip


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The web on a fresh database."""
    made = create_app(settings)
    yield made
    close_app(made)


@pytest.fixture
def filled(app: Flask, database: Connection) -> FlaskClient:
    """A web with bars, a row of the pair and statistics."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for timeframe in ("1s", "1m"):
            add_bars(database, symbol, [second(0)], timeframe)
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": second(0)}])
    add_stats(database, "BTCUSDT", [(second(0), 0.1)])
    add_scan(database, second(9), [("BTCUSDT_ETHUSDT", 0.01, 4.0, 2.5, 0.9)])
    return app.test_client()


def _curl(line: str) -> tuple[str, str, str | None]:
    """Method, address with its query, and body of a curl line."""
    words = shlex.split(line.partition("   #")[0])
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    address = next(word for word in words[1:] if "localhost:8000" in word)
    parts = urlsplit(address if "://" in address else f"http://{address}")
    return method, f"{parts.path}?{parts.query}", words[words.index("-d") + 1] if "-d" in words else None


def _curls(*methods: str) -> list[str]:
    return [line for line in _CURL.findall(README) if _curl(line)[0] in methods and "/api/stream" not in line]


@pytest.mark.parametrize("line", _curls("GET"))
def test_a_curl_line_that_reads_works(filled: FlaskClient, line: str) -> None:
    _, address, _ = _curl(line)
    answer = filled.get(address)
    if "/api/tasks/" in address:
        assert answer.get_json() == {"error": "Task not found", "status": 404}
        return
    assert answer.status_code == 200, answer.text
    if "count" in answer.get_json() and "alerts" not in address and "start=" not in address and "ticks" not in address:
        assert answer.get_json()["count"] == 1


@pytest.mark.parametrize("line", [line for line in _curls("POST") if " -d " in line])
def test_a_curl_line_that_posts_works(filled: FlaskClient, line: str) -> None:
    _, address, body = _curl(line)
    assert "application/json" in line
    answer = filled.post(address, data=body, content_type="application/json")
    assert answer.status_code in (201, 202), answer.text
