"""A venv with other people's clients, made at the first use, and the web that they ask."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from common.settings import Settings
from web.app import close_app, create_app

REPO = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
INSTALL_S = 300


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """The Python of the clients' venv; without a way to the registry its tests are skipped."""
    folder = REPO / ".venv-clients"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=INSTALL_S)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=INSTALL_S)
        if done.returncode:
            pytest.skip(f"THE CLIENTS COULD NOT BE INSTALLED: {done.stderr.strip()[-300:]}")
        stamp.write_text(wanted)
    return python


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The web of the test's settings."""
    made = create_app(settings)
    yield made
    close_app(made)


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """Where the web listens."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
