"""Alerts on the page: made from a click on a chart, of any type, and everything that can be done about one."""

from collections.abc import Callable
from typing import Any

import pytest

from common.alertkinds import KINDS
from tests.browser.looking import Dashboard
from tests.processes.house import wait_until

pytestmark = pytest.mark.browser
Opens = Callable[..., Dashboard]


def newest(dashboard: Dashboard) -> Any:
    return dashboard.api("/api/analytics/alerts/?limit=1")["alerts"][0]


def count(dashboard: Dashboard) -> int:
    return int(dashboard.api("/api/analytics/alerts/?limit=1000")["count"])


def create(dashboard: Dashboard) -> Any:
    """Press the button and wait until the alert is stored."""
    before = count(dashboard)
    dashboard.page.click("#alert-form button[type=submit]")
    wait_until(lambda: count(dashboard) == before + 1, 60, f"alert; the form says {dashboard.text('#alert-fault')!r}")
    return newest(dashboard)


def place_of(dashboard: Dashboard, series: str, price: float, box: str) -> tuple[list[float], Any]:
    """Where a level stands in the box of its chart, and where that stands, once all is drawn."""
    dashboard.frame()
    where = dashboard.page.evaluate(f"window.gems.placeOf({series!r}, {price})")
    return where, dashboard.page.locator(box).bounding_box()


def click_at(dashboard: Dashboard, series: str, price: float, box: str) -> str:
    """Click a chart where a series has a level; answers what is offered."""
    dashboard.page.locator(box).scroll_into_view_if_needed()
    wait_until(lambda: place_of(dashboard, series, price, box) == place_of(dashboard, series, price, box), 60, "chart at rest")
    (x, y), place = place_of(dashboard, series, price, box)
    assert place
    dashboard.page.mouse.click(place["x"] + x, place["y"] + y)
    offer = dashboard.page.locator(f"{box} .offer")
    offer.wait_for(state="visible", timeout=60_000)
    return offer.inner_text()


def test_a_click_on_the_candles_makes_an_alert_at_that_price(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.frame()
    last = dashboard.look("bars")[-1]["close"]
    level = dashboard.page.evaluate("window.gems.levelAbove('candles')")
    assert level > last
    assert "price above" in click_at(dashboard, "candles", level, "#price-chart")
    dashboard.page.click("#price-chart .offer")
    assert float(dashboard.page.input_value("#alert-threshold")) == pytest.approx(level, rel=1e-4)
    alert = create(dashboard)
    assert (alert["alert_type"], alert["symbol_pair"], alert["timeframe"]) == ("price_above", "BTCUSDT", "1s")
    assert alert["condition"]["threshold"] == pytest.approx(level, rel=1e-4)
    wait_until(lambda: alert["condition"]["threshold"] in dashboard.look("levels"), 60, "level drawn")


def test_a_click_on_the_z_score_makes_an_alert_of_the_series_in_view(page_of: Opens) -> None:
    dashboard = page_of()
    wait_until(lambda: len(dashboard.look("pairRows")) > 800, 60, "rows of the pair")
    dashboard.frame()
    assert "z-score below minus 1." in click_at(dashboard, "z", -1.5, "#pair-chart")
    dashboard.page.click("#pair-chart .offer")
    alert = create(dashboard)
    assert (alert["alert_type"], alert["symbol_pair"]) == ("zscore_low", "BTCUSDT_ETHUSDT")
    assert alert["condition"]["threshold"] == pytest.approx(1.5, abs=0.05)


def test_every_type_can_be_made(page_of: Opens) -> None:
    dashboard = page_of()
    for kind in KINDS:
        dashboard.page.select_option("#alert-type", kind)
        if not dashboard.page.input_value("#alert-threshold"):
            dashboard.page.fill("#alert-threshold", "3")
        alert = create(dashboard)
        assert alert["alert_type"] == kind
        assert alert["symbol_pair"] == ("BTCUSDT_ETHUSDT" if KINDS[kind].of_pair else "BTCUSDT")


def test_an_alert_with_options_is_paused_resumed_read_and_deleted(page_of: Opens) -> None:
    dashboard = page_of()
    page = dashboard.page
    page.select_option("#alert-type", "zscore_abs")
    page.fill("#alert-threshold", "2.5")
    page.click("#alert-form summary")
    page.select_option("#alert-severity", "critical")
    page.fill("#alert-for_bars", "3")
    page.fill("#alert-clear", "1")
    page.fill("#alert-note", "call <b>the desk</b>")
    alert = create(dashboard)
    assert (alert["severity"], alert["note"]) == ("critical", "call <b>the desk</b>")
    assert (alert["condition"]["for_bars"], alert["condition"]["clear"]) == (3, 1)
    item = f"#alert-list li[data-id='{alert['id']}']"
    wait_until(lambda: page.is_visible(item), 60, "alert in the list")
    assert "call <b>the desk</b>" in page.inner_text(item)
    assert "critical" in page.inner_text(item)
    assert "for 3 bars, over at 1" in page.inner_text(item)
    page.click(f"{item} [data-do=pause]")
    page.wait_for_selector(f"{item} [data-do=resume]")
    assert newest(dashboard)["status"] == "paused"
    page.click(f"{item} [data-do=resume]")
    page.wait_for_selector(f"{item} [data-do=pause]")
    page.click(f"{item} [data-do=history]")
    page.wait_for_selector(f"{item} .events")
    history = page.inner_text(f"{item} .events")
    assert history.index("resumed") < history.index("paused")
    page.click("#alert-history")
    page.wait_for_selector("#alert-events .events")
    assert "paused" in page.inner_text("#alert-events")
    page.click(f"{item} [data-do=delete]")
    page.wait_for_selector(item, state="detached")
    assert alert["id"] not in [each["id"] for each in dashboard.api("/api/analytics/alerts/?limit=1000")["alerts"]]
    assert dashboard.faults == []


@pytest.mark.parametrize(
    ("pressed", "again", "answered"),
    [
        ("#alert-list [data-do=history]", "alerts.fetch", "#alert-list .events"),
        ("#heat [data-pair=SOLUSDT_ETHUSDT]", "research.heat.load", "text=SOLUSDT on ETHUSDT"),
    ],
)
def test_a_press_is_heard_though_its_list_is_read_again_meanwhile(
    page_of: Opens, pressed: str, again: str, answered: str
) -> None:
    dashboard = page_of()
    page = dashboard.page
    page.fill("#alert-threshold", "1000000")
    create(dashboard)
    page.locator(pressed).first.hover()
    page.mouse.down()
    page.evaluate(f"import('/static/js/page.js').then(({{ page }}) => page.{again}())")
    page.mouse.up()
    page.locator(answered).first.wait_for()


_AN_ANSWER_IS_LATE = """async (id) => {
  const { page } = await import("/static/js/page.js");
  const plain = window.fetch;
  let release;
  const released = new Promise((resolve) => { release = resolve; });
  window.fetch = (...asked) => {
    window.fetch = plain;
    return plain(...asked).then((answer) => released.then(() => answer));
  };
  const late = page.alerts.fetch();
  await plain(`/api/analytics/alerts/${id}/pause/`, { method: "POST" });
  await page.alerts.fetch();
  release();
  await late;
  return page.alerts.all.find((alert) => alert.id === id).status;
}"""


def test_an_answer_that_comes_late_replaces_no_newer_one(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.page.fill("#alert-threshold", "1000000")
    assert dashboard.page.evaluate(_AN_ANSWER_IS_LATE, create(dashboard)["id"]) == "paused"


def test_a_refused_option_is_shown_at_its_field(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.page.click("#alert-form summary")
    dashboard.page.fill("#alert-clear", "9")
    dashboard.page.click("#alert-form summary")
    dashboard.page.click("#alert-form button[type=submit]")
    wait_until(lambda: dashboard.page.get_attribute("#alert-clear", "aria-invalid") == "true", 60, "mark at the field")
    assert "clear" in dashboard.text("#alert-fault")
    assert dashboard.page.is_visible("#alert-clear")


def test_sound_and_desktop_notices_are_off_until_they_are_asked_for(page_of: Opens) -> None:
    page = page_of().page
    assert not page.is_checked("#alert-sound")
    assert not page.is_checked("#alert-desktop")
    page.check("#alert-sound")
    page.reload()
    assert page.is_checked("#alert-sound")
