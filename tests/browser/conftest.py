"""A real instance and a real browser: Debian's Chromium, driven by playwright."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from tests.browser.looking import Dashboard
from tests.browser.still import StillHouse, a_still_house
from tests.processes.house import Instance, an_instance, wait_until

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_WHY = "no chromium here: apt-get install -y --no-install-recommends chromium"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
#: A short window, so that z-scores are there within the first minute of history.
WINDOW = 10


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a screen; where there is none the tests are skipped."""
    if not _CHROMIUM:
        pytest.skip(_WHY)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_CHROMIUM, headless=True, args=[*_ARGUMENTS])
        yield started
        started.close()


@pytest.fixture(scope="session")
def running(browser: Browser) -> Iterator[Instance]:
    """One instance for all; it has some minutes of history when the first test begins."""
    pairs = "BTCUSDT_ETHUSDT,BTCUSDT_SOLUSDT"
    with an_instance(GEMS_WINDOW=str(WINDOW), GEMS_HISTORY="3m", GEMS_SIM_RATE="60", GEMS_PAIRS=pairs) as instance:
        instance.up()
        yield instance


@pytest.fixture(scope="session")
def desk(browser: Browser, running: Instance) -> Iterator[Dashboard]:
    """The dashboard on a desk whose clock is not UTC."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, timezone_id="America/New_York", color_scheme="light")
    yield Dashboard(context.new_page(), running.url)
    context.close()


@pytest.fixture
def dashboard(desk: Dashboard) -> Dashboard:
    """The dashboard with its default view; the page stays open from test to test, as it does all day."""
    desk.faults.clear()
    return desk.open()


@pytest.fixture(scope="session")
def still(browser: Browser) -> Iterator[StillHouse]:
    """A house in which nothing trades, for all tests that compare what is drawn or only change what is looked at."""
    with a_still_house() as house:
        yield house


@pytest.fixture
def page_of(browser: Browser, still: StillHouse) -> Iterator[Callable[..., Dashboard]]:
    """Opens a dashboard of the still house: `page_of(query, width, **context)`."""
    contexts = []

    def opened(query: str = "", width: int = 1440, **options: Any) -> Dashboard:
        size: ViewportSize = {"width": width, "height": 1000 if width > 500 else 844}
        contexts.append(browser.new_context(viewport=size, timezone_id="America/New_York", **options))
        dashboard = Dashboard(contexts[-1].new_page(), still.url)
        dashboard.page.goto(f"{still.url}/{query}")
        wait_until(lambda: dashboard.look("bars") and dashboard.look("live")["state"] == "live", 30, "bars and a live line")
        return dashboard

    yield opened
    for context in contexts:
        context.close()
