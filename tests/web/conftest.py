"""The app over the test's own database and Redis."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from common.settings import Settings
from web.app import close_app, create_app


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
