"""Where keys are asked for: a key opens the page, and its session is ended from the page."""

from typing import TYPE_CHECKING

import pytest

from common.apikeys import add_key
from common.database import connect_database
from tests.browser.looking import Dashboard
from tests.browser.still import StillHouse
from tests.processes.house import wait_until
from tests.web.streams import running_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_a_session_is_opened_by_a_key_and_ended_from_the_page(browser: "Browser", still: StillHouse) -> None:
    database = connect_database(still.settings, "test")
    add_key(database, "owner", "admin")
    key = add_key(database, "desk", "read")
    database.close()
    context = browser.new_context()
    with running_web(still.settings.model_copy(update={"api_keys": "on"})) as (port, _):
        dashboard = Dashboard(context.new_page(), f"http://localhost:{port}")
        page = dashboard.page
        page.goto(dashboard.url)
        page.wait_for_selector("#login")
        assert not page.is_visible("#sign-out")
        page.fill("#login input", key)
        with page.expect_navigation():  # the page before it may hear of the session, too
            page.click("#login button")
        page.wait_for_selector("#sign-out[title*='desk (read)']:visible")
        wait_until(lambda: dashboard.look("bars"), 60, "bars")
        page.click("#sign-out")
        page.wait_for_selector("#login")
        assert context.cookies() == []
        assert dashboard.faults == []
        context.close()


def test_without_keys_there_is_nothing_to_sign_out_of(browser: "Browser", still: StillHouse) -> None:
    page = browser.new_page()
    with page.expect_response("**/api/session/") as answered:
        page.goto(still.url)
    assert answered.value.json()["keys"] == "off"
    assert not page.is_visible("#sign-out")
    page.close()
