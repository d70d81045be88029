"""A real instance and a real browser: Debian's Chromium, driven by playwright."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ops.chromium import chromium_here
from tests.browser.looking import Dashboard
from tests.browser.still import StillHouse, a_still_house
from tests.processes.house import Instance, an_instance, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

_WHY = "no Chromium here: `./gems test --browser` as root installs Debian's, or apt-get install chromium"
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
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the running instance comes last: it works for as long as it is there, whoever looks."""
    items.sort(key=lambda item: item.path.is_relative_to(_HERE) and "running" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="package")
def browser() -> Iterator["Browser"]:
    """Chromium without a screen; where it or playwright is missing the tests are skipped, with the reason."""
    playwright_api = pytest.importorskip("playwright.sync_api", exc_type=ImportError)
    chromium = chromium_here()
    if not chromium:
        pytest.skip(_WHY)
    with playwright_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, headless=True, args=[*_ARGUMENTS])
        yield started
        started.close()


@pytest.fixture(scope="package")
def running(browser: "Browser") -> Iterator[Instance]:
    """One instance for all; it has some minutes of history when the first test begins."""
    pairs = "BTCUSDT_ETHUSDT,BTCUSDT_SOLUSDT"
    with an_instance(GEMS_WINDOW=str(WINDOW), GEMS_HISTORY="3m", GEMS_SIM_RATE="60", GEMS_PAIRS=pairs) as instance:
        instance.up()
        yield instance


@pytest.fixture(scope="module")
def desk(browser: "Browser", running: Instance) -> Iterator[Dashboard]:
    """The dashboard on a desk whose clock is not UTC."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, timezone_id="America/New_York", color_scheme="light")
    yield Dashboard(context.new_page(), running.url)
    context.close()


@pytest.fixture
def dashboard(desk: Dashboard) -> Dashboard:
    """The dashboard with its default view; the page stays open from test to test, as it does all day."""
    desk.faults.clear()
    return desk.open_at_work()


@pytest.fixture(scope="package")
def still(browser: "Browser") -> Iterator[StillHouse]:
    """A house in which nothing trades, for all tests that compare what is drawn or only change what is looked at."""
    with a_still_house() as house:
        yield house


@pytest.fixture(scope="module")
def page(browser: "Browser", still: StillHouse) -> Iterator["Page"]:
    """An empty page of the web, for its modules alone."""
    opened = browser.new_page()
    opened.goto(f"{still.url}/healthz")
    yield opened
    opened.close()


@pytest.fixture
def page_of(browser: "Browser", still: StillHouse) -> Iterator[Callable[..., Dashboard]]:
    """Opens a dashboard of the still house: `page_of(query, width, **context)`.

    Its bars are drawn, and its strip has its sentences: they move nothing any more when a test begins.
    """
    contexts = []

    def opened(query: str = "", width: int = 1440, **options: Any) -> Dashboard:
        size: ViewportSize = {"width": width, "height": 1000 if width > 500 else 844}
        contexts.append(browser.new_context(viewport=size, timezone_id="America/New_York", **options))
        dashboard = Dashboard(contexts[-1].new_page(), still.url)
        dashboard.page.goto(f"{still.url}/{query}")
        wait_until(lambda: dashboard.look("bars") and dashboard.look("live")["state"] == "live", 60, "bars and a live line")
        wait_until(lambda: dashboard.look("health"), 60, "health")
        dashboard.frame()
        return dashboard

    yield opened
    for context in contexts:
        context.close()
