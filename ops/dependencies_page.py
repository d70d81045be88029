"""`python -m ops.dependencies_page`: writes docs/dependencies.md, every pinned package with version and licence.

Licences are what the installed packages say of themselves; why a package is there is in docs/security.md, by hand.
"""

import re
from importlib.metadata import PackageNotFoundError, metadata
from typing import NamedTuple

from ops.house import ROOT

PAGE = ROOT / "docs" / "dependencies.md"
FILES = {"requirements.txt": "to run", "requirements-dev.txt": "to test"}
_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[\w+\])?==([^\s;]+)")
_HEAD = """# Dependencies

Every package that is pinned, with its version and its licence as the package itself tells it. Written by
`python -m ops.dependencies_page`; a test fails where it does not tell what the requirements do. Why each is there, and how they
were reviewed: [security.md](security.md#dependencies).

| package | version | licence | for |
|---|---|---|---|
"""
#: Where a package's metadata says nothing, what the licence file beside it says.
_TOLD_ELSEWHERE = {"aiofastnet": "MIT", "picows": "MIT", "promql-parser": "MIT"}
_SHORT = {
    "MIT License": "MIT", "BSD License": "BSD", "Apache Software License": "Apache-2.0", "DFSG approved": "",
    "Python Software Foundation License": "PSF", "BSD-derived (http://www.repoze.org/LICENSE.txt)": "BSD-derived",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "GNU Library or Lesser General Public License (LGPL)": "LGPL",
}  # fmt: skip


class Pin(NamedTuple):
    """A pinned package, and what it is for."""

    name: str
    version: str
    use: str


def pins() -> list[Pin]:
    """Of both files, by name."""
    found = [Pin(pin[1], pin[2], use) for file, use in FILES.items() for pin in _PIN.finditer((ROOT / file).read_text())]
    return sorted(found, key=lambda pin: pin.name.lower())


def licence(name: str) -> str:
    """What an installed package says; empty where it is not installed on this system."""
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return ""
    classified = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or [] if each.startswith("License")]
    found = [told["License-Expression"]] if told["License-Expression"] else classified or (told["License"] or "").splitlines()[:1]
    return _TOLD_ELSEWHERE.get(name) or ", ".join(filter(None, (_SHORT.get(each, each) for each in found)))


def known_licences() -> dict[str, str]:
    """What the page says now: for packages that this system does not install."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return {row[0]: row[1] for row in re.findall(r"^\| (\S+) \| \S+ \| ([^|]+) \|", text, re.MULTILINE)}


def page() -> str:
    """The page as it should be."""
    known = known_licences()
    rows = [f"| {p.name} | {p.version} | {licence(p.name) or known.get(p.name, '')} | {p.use} |\n" for p in pins()]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
