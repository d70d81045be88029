"""Numbers as people read them, whatever their size; the module runs in the browser that it is for."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.looking import Dashboard
from tests.browser.still import StillHouse
from tests.processes.house import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
_LONG = "A_VENUE_WITH_A_LONG_NAME:" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2
_RIGHT = "(selector) => Math.max(...[...document.querySelectorAll(selector)].map((cell) => cell.getBoundingClientRect().right))"


def answers(browser: "Browser", still: StillHouse, name: str, arguments: list[Any]) -> list[Any]:
    page = browser.new_page()
    page.goto(f"{still.url}/healthz")
    body = f"const {{ {name}: of }} = await import('/static/js/format.js'); return given.map((each) => of(each));"
    found: list[Any] = page.evaluate(f"async (given) => {{ {body} }}", arguments)
    page.close()
    return found


def test_prices_have_the_digits_that_they_came_with(browser: "Browser", still: StillHouse) -> None:
    prices = [[43047.9], [0.00001234], [6.2e-7], [3.125e-8], [1.5e-20], [1234567890123.5], [100, 1e-7], []]
    assert answers(browser, still, "priceDigits", prices) == [2, 8, 8, 11, 12, 2, 7, 2]


def test_what_is_older_than_a_day_has_its_date(browser: "Browser", still: StillHouse) -> None:
    page = browser.new_page()
    page.goto(f"{still.url}/healthz")
    body = "const { Clock } = await import('/static/js/format.js');"
    body += "return ages.map((age) => new Clock('utc').moment(1e9, 1e12 + age * 1000));"
    assert page.evaluate(f"async (ages) => {{ {body} }}", [1, 86_399, 86_401]) == [
        "01:46:40 UTC", "01:46:40 UTC", "09 Sept 2001, 01:46:40 UTC",
    ]  # fmt: skip
    page.close()


def test_statistics_of_any_size_can_be_told_apart(browser: "Browser", still: StillHouse) -> None:
    values = [27.751, -0.33878, 0.0000123456, 9.6433e-9, -1.1815e-17, 29882084273353370000, 12345678.9, 0, None]
    assert answers(browser, still, "statistic", values) == [
        "27.751", "-0.33878", "0.000012346", "9.6433e-9", "-1.1815e-17", "2.9882e+19", "12,345,678.90", "0.00", "–",
    ]  # fmt: skip

    values = [27.751, 5020.18, 45139.17, 0.0088845, 0.000072697, -2.5e-17, 29882084273353370000, 0, None]
    assert answers(browser, still, "brief", values) == [
        "27.75", "5,020", "45,139", "0.008885", "7.27e-5", "-2.50e-17", "2.99e+19", "0", "–",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_name_leaves_the_numbers_of_live_pairs_in_view(browser: "Browser", still: StillHouse, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    dashboard = Dashboard(page, still.url).open()
    wait_until(lambda: page.query_selector("#scanner-rows .pick"), 60, "live pairs")
    page.evaluate(f"document.querySelector('#scanner-rows .pick').textContent = '{_LONG}'")
    assert page.evaluate(_RIGHT, "#scanner-rows td") <= page.evaluate(_RIGHT, "#scanner")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert dashboard.faults == []
    page.close()
