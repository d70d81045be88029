"""Pictures of the dashboard, for people: on a desk and on a phone, in both themes. They stay in dist/screenshots, or where
`SCREENSHOTS` says."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from ops.house import ROOT
from tests.browser.looking import Dashboard
from tests.processes.house import Instance, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
Scheme = Literal["light", "dark"]
SIZES = {"dashboard": (1440, 1000), "dashboard-phone": (390, 844)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SIZES)
def test_a_picture_of_a_busy_page(running: Instance, browser: "Browser", name: str, scheme: Scheme) -> None:
    width, height = SIZES[name]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=width < 500)
    dashboard = Dashboard(context.new_page(), running.url).open_at_work()
    page = dashboard.page
    page.click("#scan-start")
    page.click("#backtest-form button")
    page.wait_for_selector("#backtest-numbers dd")
    page.wait_for_selector("#scan-rows tr", timeout=60_000)
    wait_until(lambda: dashboard.look("health"), 60, "health")
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)
    folder = Path(os.environ.get("SCREENSHOTS") or ROOT / "dist/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{scheme}.png"
    page.screenshot(path=path, full_page=width > 500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert path.stat().st_size > 50_000
    context.close()
