"""The page at any width, in both themes and zones, and by keyboard alone."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.looking import Dashboard
from tests.browser.still import BARS, StillHouse
from tests.processes.house import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = pytest.mark.browser
Opens = Callable[..., Dashboard]
_UNNAMED = """() => {
  const named = (node) => node.labels?.length || node.getAttribute("aria-label") || node.getAttribute("aria-labelledby")
    || node.innerText?.trim() || node.closest("label");
  const all = document.querySelectorAll("button, input, select, [role=group], table, a[href]");
  const ours = [...all].filter((node) => node.offsetParent && !node.closest(".tv-lightweight-charts"));
  return ours.filter((node) => !named(node)).map((node) => node.outerHTML.slice(0, 120));
}"""


_SMALL = """() => {
  const pressed = (node) => (["checkbox", "radio", "file"].includes(node.type) ? node.closest("label") : node);
  const all = document.querySelectorAll("a[href], button, input, select, summary");
  const ours = [...all].filter((node) => node.offsetParent && !node.closest(".tv-lightweight-charts") && !node.matches(".skip"));
  const sizes = ours.map((node) => [node.outerHTML.slice(0, 80), pressed(node).getBoundingClientRect()]);
  const small = sizes.filter(([, box]) => box.width < 39.9 || box.height < 39.9);
  return small.map(([html, { width, height }]) => [html, width, height]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_panel_without_scrolling_sideways(page_of: Opens, scheme: str) -> None:
    dashboard = page_of("", 390, color_scheme=scheme, is_mobile=True, has_touch=True)
    page = dashboard.page
    page.click("#scan-start")
    page.click("#backtest-form button")
    page.wait_for_selector("#backtest-numbers dd")
    page.wait_for_selector("#scan-rows tr", timeout=60_000)
    page.click("#alert-form summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.tap("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert dashboard.faults == []


def test_whatever_is_pressed_on_a_phone_is_as_large_as_a_finger(page_of: Opens) -> None:
    page = page_of("", 390, is_mobile=True, has_touch=True).page
    page.click("#alert-form summary")
    page.fill("#alert-threshold", "1000000")
    page.click("#alert-form button[type=submit]")
    page.wait_for_selector("#alert-list button")
    page.click("#scan-start")
    page.wait_for_selector("#scan-rows tr", timeout=60_000)
    assert page.evaluate(_SMALL) == []


def test_what_stands_beside_a_live_value_rests(page_of: Opens) -> None:
    page = page_of().page
    said = """(texts) => import("/static/js/dom.js").then(({ sayInPlace }) => texts.map((text) => {
      sayInPlace(document.querySelectorAll("#gauges b")[2], text);
      return document.querySelectorAll("#gauges li")[3].getBoundingClientRect().left;
    }))"""
    wide, narrow, wider = page.evaluate(said, ["123.45 s", "0.1 s", "1234567.8 s"])  # in one go: the others change all the time
    assert narrow == wide < wider


def test_both_charts_have_the_wider_axis(page_of: Opens) -> None:
    dashboard = page_of("?symbol=SOLUSDT")
    wait_until(lambda: len(dashboard.look("pairRows")) > 800, 60, "rows of the pair")
    widths = "['price-chart', 'pair-chart'].map((id) => document.querySelector(`#${id} table tr td:nth-child(3)`).offsetWidth)"
    wait_until(lambda: len(set(dashboard.page.evaluate(widths))) == 1, 60, "axes of one width")  # nothing else comes here
    before = dashboard.page.evaluate(widths)
    dashboard.page.evaluate(
        "import('/static/js/page.js').then(({ page }) => {"
        " page.priceChart.candles.applyOptions({ priceFormat: { type: 'price', precision: 14, minMove: 1e-14 } }); })"
    )
    wait_until(lambda: dashboard.page.evaluate(widths)[0] > before[0], 60, "wider axis")  # a chart finds it out as it paints
    dashboard.page.evaluate("import('/static/js/page.js').then(({ page }) => page.align())")
    wait_until(lambda: len(set(dashboard.page.evaluate(widths))) == 1, 60, "axes of one width again")
    assert dashboard.page.evaluate(widths)[0] > before[0]


def test_everything_has_a_name_for_screen_readers(page_of: Opens) -> None:
    dashboard = page_of()
    wait_until(lambda: dashboard.page.query_selector("#heat button"), 60, "heat map")
    assert dashboard.page.evaluate(_UNNAMED) == []


def test_times_are_utc_until_the_zone_is_switched(page_of: Opens) -> None:
    dashboard = page_of()
    wait_until(lambda: "UTC" in dashboard.text("#price-legend"), 60, "times in UTC")
    dashboard.page.click("#zone")
    wait_until(lambda: "UTC" not in dashboard.text("#price-legend"), 60, "local times")
    assert "tz=local" in dashboard.address
    dashboard.page.reload()
    wait_until(lambda: dashboard.look("bars"), 60, "bars")
    assert dashboard.look("view")["zone"] == "local"


def test_scrolling_back_loads_history(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.frame()
    first = dashboard.api("/api/ingestion/bars/?symbol=BTCUSDT&order=asc&end=2100-01-01T00:00:00Z&limit=10000")["bars"][0]
    loaded = len(dashboard.look("bars"))
    assert loaded < BARS
    dashboard.page.focus("#price-chart")

    def further_back() -> bool:
        for _ in range(40):
            dashboard.page.keyboard.press("ArrowLeft")
        return len(dashboard.look("bars")) == BARS

    wait_until(further_back, 60, "older bars")
    assert dashboard.look("bars")[0]["timestamp"] == first["timestamp"]
    dashboard.frame()
    assert len(dashboard.look("drawn")["candles"]) == BARS


def test_a_chart_is_moved_and_an_alert_begun_by_keyboard(page_of: Opens) -> None:
    dashboard = page_of()
    page = dashboard.page
    page.focus("#price-chart")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_until(lambda: page.is_visible("#price-golive"), 60, "button to go to live")
    page.keyboard.press("End")
    wait_until(lambda: not page.is_visible("#price-golive"), 60, "live view")
    page.keyboard.press("a")
    assert page.input_value("#alert-type") == "price_above"
    assert float(page.input_value("#alert-threshold")) == dashboard.look("bars")[-1]["close"]
    assert page.evaluate("document.activeElement.type") == "submit"


_NOTE_AXIS_TEXTS = """() => {
  const plain = CanvasRenderingContext2D.prototype.fillText;
  window.axis_texts = [];
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    if (this.canvas.closest("tr")?.matches(":last-child") && this.textAlign === "center") {
      const half = this.measureText(text).width / 2;
      window.axis_texts.push([text, x - half, this.canvas.clientWidth - x - half]);
    }
    return plain.call(this, text, x, y);
  };
}"""


def test_marks_of_the_time_axis_are_round_and_whole(page_of: Opens) -> None:
    dashboard = page_of()
    page = dashboard.page
    page.evaluate(_NOTE_AXIS_TEXTS)
    page.focus("#price-chart")
    for _ in range(9):  # some bars each, so that a mark comes to stand at many distances from the edge
        page.keyboard.press("ArrowLeft")
        dashboard.frame()
    drawn = [(text, left, right) for text, left, right in page.evaluate("window.axis_texts") if ":" in text]
    assert len(drawn) > 20
    assert [mark for mark in drawn if min(mark[1:]) < 0] == []
    seconds = {int(text.split(":")[2]) for text, _, _ in drawn if text.count(":") == 2}
    assert seconds <= set(range(0, 60, 5)) and seconds & {15, 30, 45}


def test_an_instance_without_a_pair_says_what_to_do(browser: "Browser", still: StillHouse) -> None:
    def without_pairs(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=re.sub(r'data-series="[^"]*"', 'data-series=""', answer.text()))

    page = browser.new_page()
    page.route(f"{still.url}/", without_pairs)
    dashboard = Dashboard(page, still.url)
    page.goto(f"{still.url}/")
    wait_until(lambda: "No pair is chosen" in dashboard.text("#pair-chart"), 60, "sentence")
    assert dashboard.text("#pair-title") == "No pair"
    assert page.input_value("#alert-type") == "price_above"
    page.click("#backtest-form button")
    assert "Choose a pair" in dashboard.text("#backtest-fault")
    wait_until(lambda: page.query_selector("#pick-pair optgroup[label=Live]"), 60, "live series")
    page.select_option("#pick-pair", "BTCUSDT_ETHUSDT|60|ols")
    wait_until(lambda: dashboard.look("pairRows"), 60, "rows of the pair")
    assert dashboard.faults == []
    page.close()
