"""The app over the test's own database and Redis."""

from collections.abc import Iterator
from functools import partial

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common.settings import Settings
from web import metrics, readiness
from web.app import close_app, create_app
from web.queries import metrics as counts

NOWHERE = "postgresql://x@127.0.0.1:1/x"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes and scrapes wait: a store that answers late, because the machine is busy, is not away."""
    for module, name in ((readiness, "asked"), (counts, "asked"), (readiness, "hasty_redis"), (metrics, "hasty_redis")):
        monkeypatch.setattr(module, name, partial(getattr(module, name), seconds=60.0))


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The web of the test's settings; a bug answers 500 as in production."""
    made = create_app(settings)
    yield made
    close_app(made)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without a network."""
    return app.test_client()


@pytest.fixture(scope="session")
def storeless() -> Iterator[FlaskClient]:
    """A client of a web whose stores are away: what is refused by its form never asks them."""
    app = create_app(Settings.from_env({}, database_url=NOWHERE, redis_url="redis://127.0.0.1:1/0"))
    yield app.test_client()
    close_app(app)


@pytest.fixture
def only_redis(redis_url: str) -> Iterator[FlaskClient]:
    """A client of a web whose PostgreSQL is away."""
    app = create_app(Settings.from_env({}, database_url=NOWHERE, redis_url=redis_url))
    yield app.test_client()
    close_app(app)
