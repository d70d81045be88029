"""The dashboard shows what the API says, stays live, and is usable on a desk and on a phone."""

import json
import os
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import WINDOW
from tests.browser.looking import Dashboard
from tests.processes.house import Instance, family, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

BARS = "/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1s&order=asc&limit=1000"
PRICES = ("open", "high", "low", "close")
PAIR = f"/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT&timeframe=1s&window={WINDOW}&limit=1000"


def epoch_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def closed_alike(dashboard: Dashboard) -> int:
    """How many closed bars are drawn as the API tells them, once all are: a bar may be rebuilt between two looks."""
    seen: list[Any] = []
    until_s = time.monotonic() + 60
    while differing := (seen := bars_compared(dashboard))[1]:
        assert time.monotonic() < until_s, f"bars drawn and told otherwise: {differing}"
    return int(seen[0])


def bars_compared(dashboard: Dashboard) -> list[Any]:
    """How many closed bars both have, from the first that both have; and those that differ: (time, drawn, told)."""
    closed = {row["time"] for row in dashboard.look("bars") if row["closed"]}
    dashboard.frame()  # they are drawn in it, with their last prices
    drawn = {point["time"]: [point[name] for name in PRICES] for point in dashboard.look("drawn")["candles"]}
    told = {epoch_s(bar["timestamp"]): [bar[name] for name in PRICES] for bar in dashboard.api(BARS)["bars"]}
    first, last = max(min(drawn), min(told)), min(max(closed), max(told))
    both = {moment for moment in drawn.keys() | told.keys() if first <= moment <= last}
    return [len(both), [(at, drawn.get(at), told.get(at)) for at in sorted(both) if drawn.get(at) != told.get(at)]]


def test_candles_drawn_are_the_bars_of_the_api(dashboard: Dashboard) -> None:
    assert closed_alike(dashboard) > 60
    assert re.fullmatch(r"[\d,]+\.\d\d", dashboard.text("#last"))


def test_pair_drawn_is_the_pair_of_the_api(dashboard: Dashboard) -> None:
    compared, differing, until_s = 0, list[Any](), time.monotonic() + 60
    while compared <= 60 or differing:
        compared, differing = pair_compared(dashboard)
        assert time.monotonic() < until_s, f"{compared} rows compared, drawn and told otherwise: {differing}"


def pair_compared(dashboard: Dashboard) -> tuple[int, list[Any]]:
    """How many rows of the pair both have, and those that differ: one may be computed anew between two looks."""
    dashboard.frame()
    drawn = {name: {point["time"]: point.get("value") for point in points} for name, points in dashboard.look("drawn").items()}
    both = [(epoch_s(row["timestamp"]), row) for row in dashboard.api(PAIR)["analytics"] if row["z_score"] is not None]
    both = [(at, row) for at, row in both if at in drawn["spread"]]
    differing = []
    for at, row in both:
        seen = [drawn[name].get(at) for name in ("spread", "z", "upper")]
        told = [row["spread"], row["z_score"], row["rolling_mean"] + 2 * row["rolling_std"]]
        if seen[:2] != told[:2] or seen[2] != pytest.approx(told[2]):
            differing.append((at, seen, told))
    return len(both), differing


def test_a_new_bar_is_drawn_within_seconds_of_its_trades(dashboard: Dashboard) -> None:
    newest = dashboard.look("bars")[-1]["time"]
    wait_until(lambda: dashboard.look("bars")[-1]["time"] >= newest + 2, 60, "newer bar")
    wait_until(lambda: time.time() - dashboard.look("bars")[-1]["time"] < 5, 60, "bar that is no older than 5 s")
    wait_until(lambda: re.search(r"Trades\s+[\d.,]+/s", dashboard.text("#gauges")), 60, "rate")  # of a web that has looked twice


#: A chart follows the other a frame later: what has just come is given some.
_NEWEST_IN_BOTH = """async () => {
  let places = [0, Infinity];
  for (let frame = 0; frame < 12 && Math.abs(places[0] - places[1]) > 1; frame += 1) {
    await new Promise(requestAnimationFrame);
    const { time } = window.gems.pairRows().at(-1);
    places = ["candles", "spread"].map((name) => window.gems.xOf(name, time));
  }
  return places;
}"""


_PLACES = """() => [["candles", "bars"], ["spread", "pairRows"]].map(([name, what]) => {
  const times = window.gems[what]().map((row) => row.time);
  return [times.length, ...[times[0], times.at(-2), times.at(-1)].map((time) => [time, window.gems.xOf(name, time)])];
})"""


def test_the_newest_moment_stands_at_the_same_place_in_both_charts(dashboard: Dashboard) -> None:
    dashboard.page.mouse.move(1, 1)
    dashboard.page.evaluate("document.activeElement.blur()")
    for _ in range(3):  # with and without an open bar that the pair does not have yet
        newest = dashboard.look("bars")[-1]["time"]
        wait_until(lambda: dashboard.look("bars")[-1]["time"] > newest, 60, "newer bar")  # noqa: B023 - called at once
        wait_until(lambda: dashboard.look("pairRows")[-1]["time"] > newest, 60, "newer row of the pair")  # noqa: B023
        candle, row = dashboard.page.evaluate(_NEWEST_IN_BOTH)
        assert candle == pytest.approx(row, abs=1), dashboard.page.evaluate(_PLACES)


def test_the_page_asks_no_other_host_and_has_no_fault(dashboard: Dashboard) -> None:
    dashboard.page.hover("#pair-chart")
    dashboard.page.hover("#price-chart")
    dashboard.frame()
    assert {url.split("/")[2] for url in dashboard.asked if not url.startswith("data:")} == {
        dashboard.url.removeprefix("http://")
    }
    assert not dashboard.faults


def test_all_pairs_are_listed_and_a_click_looks_at_one(dashboard: Dashboard) -> None:
    wait_until(lambda: re.search(r"BTCUSDT/SOLUSDT\s+-?\d", dashboard.text("#scanner")), 60, "numbers of the second pair")
    dashboard.page.click("#scanner >> text=BTCUSDT/SOLUSDT")
    wait_until(lambda: len(dashboard.look("pairRows")) > 60, 60, "rows of the second pair")
    assert dashboard.text("#pair-title") == "BTCUSDT on SOLUSDT"
    assert "pair=BTCUSDT_SOLUSDT" in dashboard.address


def test_an_alert_made_by_hand_is_told_listed_and_deleted(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.select_option("#alert-type", "price_above")
    page.select_option("#alert-subject", "BTCUSDT")
    page.fill("#alert-threshold", "1")
    page.click("#alert-form summary")
    page.check("#alert-once")
    page.click("#alert-form button[type=submit]")
    wait_until(lambda: "price above 1: now" in dashboard.text("#notices"), 60, "notice of the alert")
    wait_until(lambda: "triggered" in dashboard.text("#alert-list"), 60, "triggered alert in the list")
    alert = dashboard.api("/api/analytics/alerts/")["alerts"][0]
    assert (alert["alert_type"], alert["symbol_pair"], alert["status"]) == ("price_above", "BTCUSDT", "triggered")
    page.click(f"#alert-list li[data-id='{alert['id']}'] [data-do=ack]")
    wait_until(lambda: "acknowledged" in dashboard.text("#alert-list"), 60, "acknowledged alert in the list")
    page.click(f"#alert-list li[data-id='{alert['id']}'] [data-do=history]")
    wait_until(lambda: page.query_selector("#alert-list .events"), 60, "history of the alert")
    assert "triggered at" in page.inner_text("#alert-list .events")
    page.click(f"#alert-list li[data-id='{alert['id']}'] [data-do=delete]")
    wait_until(lambda: not page.query_selector(f"#alert-list li[data-id='{alert['id']}']"), 60, "alert gone")


def test_a_refused_alert_says_why_at_its_field(dashboard: Dashboard) -> None:
    dashboard.page.select_option("#alert-type", "correlation_break")
    dashboard.page.fill("#alert-threshold", "7")
    dashboard.page.click("#alert-form button[type=submit]")
    wait_until(lambda: "must be from -1 to 1" in dashboard.text("#alert-fault"), 60, "sentence of the refusal")
    assert dashboard.page.get_attribute("#alert-threshold", "aria-invalid") == "true"


def test_after_the_web_is_killed_the_page_goes_on_without_a_hole(running: Instance, dashboard: Dashboard) -> None:
    for process in family(running.processes()["web"]["pid"]):
        os.kill(process.pid, signal.SIGKILL)
    killed_s = time.time()
    wait_until(lambda: dashboard.look("live")["state"] == "retrying", 60, "line that is down")
    wait_until(lambda: dashboard.look("live")["state"] == "live", 60, "live line again")
    wait_until(lambda: dashboard.look("bars")[-1]["time"] > killed_s + 2, 60, "bars after the outage")
    wait_until(lambda: dashboard.look("bars")[-3]["closed"], 60, "closed bars after the outage")
    assert closed_alike(dashboard) > 60


def test_a_late_trade_redraws_its_bar_with_its_revision(dashboard: Dashboard) -> None:
    bar = dashboard.look("bars")[-20]
    late = {"symbol": "BTCUSDT", "ts": int(bar["time"] * 1000) + 500, "price": str(bar["high"] + 1000), "size": "0.5"}
    assert dashboard.page.request.post(f"{dashboard.url}/api/ingestion/ingest/", data={"ticks": [late]}).ok
    wait_until(lambda: _high(dashboard, bar["time"]) == bar["high"] + 1000, 60, "bar drawn anew")
    (revised,) = (row for row in dashboard.look("bars") if row["time"] == bar["time"])
    assert (revised["revision"], revised["tick_count"]) == (bar["revision"] + 1, bar["tick_count"] + 1)


def _high(dashboard: Dashboard, moment: float) -> float:
    (high,) = (point["high"] for point in dashboard.look("drawn")["candles"] if point["time"] == moment)
    return float(high)


def test_after_a_sleep_everything_is_loaded_anew(running: Instance, browser: "Browser") -> None:
    page = browser.new_page()
    page.clock.install()
    slept = Dashboard(page, running.url).open_at_work()
    slept.asked.clear()
    page.clock.fast_forward("10:00")
    wait_until(lambda: any("/api/stream?" in url and "since=" not in url for url in slept.asked), 60, "new line")
    wait_until(lambda: any("/bars/?" in url and "start=" not in url for url in slept.asked), 60, "bars asked for anew")
    wait_until(lambda: slept.look("live")["state"] == "live", 60, "live line again")
    assert closed_alike(slept) > 60
    page.close()


def test_an_uploaded_file_is_followed_to_its_end_and_can_be_looked_at(dashboard: Dashboard, tmp_path: Path) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    ticks = tmp_path / "ticks.ndjson"
    ticks.write_text("".join(_tick("NEWUSDT", start + at / 4, 10 + at % 7) for at in range(400)))
    dashboard.page.set_input_files("#upload-file", str(ticks))
    wait_until(lambda: re.search(r"\bdone\b", dashboard.text("#uploads")), 60, "finished upload")
    wait_until(lambda: dashboard.page.query_selector("#pick-symbol option[value=NEWUSDT]"), 60, "new symbol to pick")
    dashboard.page.select_option("#pick-symbol", "NEWUSDT")
    wait_until(lambda: len(dashboard.look("bars")) > 50, 60, "bars of the uploaded symbol")
    assert "symbol=NEWUSDT" in dashboard.address


def _tick(symbol: str, at_s: float, price: float) -> str:
    return json.dumps({"symbol": symbol, "ts": int(at_s * 1000), "price": str(price), "size": "1.5"}) + "\n"


def test_the_view_lives_in_the_address(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.check("#pick-timeframe input[value='1m']", force=True)
    wait_until(lambda: dashboard.look("bars") and "timeframe=1m" in dashboard.address, 60, "bars of a minute")
    assert all(bar["time"] % 60 == 0 for bar in dashboard.look("bars"))
    page.click("#zone")
    assert "tz=local" in dashboard.address
    assert page.inner_text("#zone") != "UTC"
    page.go_back()
    page.go_back()
    wait_until(lambda: dashboard.look("view")["timeframe"] == "1s", 60, "first view again")


def test_an_unknown_symbol_is_told_with_what_to_do(dashboard: Dashboard) -> None:
    page = dashboard.page
    page.goto(f"{dashboard.url}/?symbol=NOPEUSDT")
    wait_until(lambda: "GEMS_SYMBOLS" in page.inner_text("#price-chart"), 60, "sentence about the symbol")
    assert "BTCUSDT" in page.inner_text("#price-chart")
