"""Every requirement is pinned once, listed with version and licence, and, if it is needed to run, reviewed."""

import re

import pytest

from ops.dependencies_page import FILES, PAGE, licence, pins
from ops.house import ROOT

ROWS = {
    name: (version, told, use)
    for name, version, told, use in re.findall(r"^\| (\S+) \| (\S+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    if name != "package"
}
#: May be used beside Apache-2.0 code as it is here: imported, not changed, not linked into anything that we hand on.
GOOD = re.compile(
    r"(MIT(-0)?|Apache-2\.0|(0|2-Clause-|3-Clause-)?BSD(-[23]-Clause|-derived)?|0BSD|PSF(-2\.0)?|Zlib|CC0-1\.0|MPL-2\.0|LGPL"
    r"|\(|\)|,| |AND|OR)+"
)
SECURITY = (ROOT / "docs" / "security.md").read_text()
REVIEW = SECURITY[SECURITY.index("## Dependencies") :]


@pytest.mark.parametrize("pin", pins(), ids=lambda pin: pin.name)
def test_a_requirement_is_listed_with_its_version_and_a_licence_that_fits(pin: tuple[str, str, str]) -> None:
    name, version, use = pin
    assert name in ROWS, f"{name} is not in docs/dependencies.md: run python -m ops.dependencies_page"
    listed_version, told, listed_use = ROWS[name]
    assert (listed_version, listed_use) == (version, use), "run python -m ops.dependencies_page"
    assert GOOD.fullmatch(told), f"{name} is under {told!r}: review it, docs/security.md"
    if is_told := licence(name):
        assert told == is_told, "run python -m ops.dependencies_page"


def test_nothing_is_listed_that_is_not_required() -> None:
    assert set(ROWS) == {pin.name for pin in pins()}


@pytest.mark.parametrize("file", FILES)
def test_every_requirement_is_pinned_exactly_once(file: str) -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    names = [re.match(r"([A-Za-z0-9._-]+)(\[\w+\])?==\S", line) for line in lines if line and not line.startswith("-")]
    assert all(names), "only NAME==VERSION"
    assert len({found[1].lower() for found in names if found}) == len(names)


@pytest.mark.parametrize("name", [pin.name for pin in pins() if pin.use == "to run"])
def test_what_is_needed_to_run_is_reviewed(name: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", REVIEW), f"{name} is not in the review in docs/security.md"
