"""Chromium for the tests of the dashboard: asked for, it is there or the reason is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.chromium import chromium_here, install_chromium
from ops.house import ROOT


def test_a_machine_that_can_not_install_it_fails_where_it_was_asked_for_and_says_why(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops", "test", "--browser"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    reason = "only root may install it" if os.geteuid() else "there is no apt-get here"
    assert f"no Chromium for the tests of the dashboard: {reason}" in done.stdout
    assert "-- ruff" not in done.stdout


@pytest.mark.parametrize(
    ("last", "told"), [("echo E: no such package; exit 100", "ended with 100:\nE: no such package"), ("exit 0", "no `chromium`")]
)
def test_what_apt_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, told: str) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\n{last}\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("ops.chromium._os_release", lambda: "ID=debian")
    assert chromium_here() is None
    assert told in str(install_chromium())
