"""A page that stays open all day: memory does not grow, updates do not freeze it, and its strip says what is wrong."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from common.events import Event, publish
from common.streams import connect_redis
from tests.browser.events import bar, pair_row, send, stamp
from tests.browser.looking import Dashboard
from tests.browser.still import BARS, GAP_AT, REVISED_AT, StillHouse
from tests.processes.house import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Opens = Callable[..., Dashboard]
DAY_BARS = 16_800  # past the bound of the page's rows three times
PIECE = 600
UPDATES = 360
#: Megabytes, nodes and listeners: a row that stayed would cost more than twice the first.
MOST_GROWTH = (4, 200, 200)


def _alert(start: datetime, number: int) -> Event:
    body = {
        "alert_id": 1, "alert_type": "price_above", "symbol_pair": "BTCUSDT", "timeframe": "1s", "threshold": 1,
        "silenced": False,
        "transition": ("triggered", "cleared")[number // 50 % 2], "value": 43000, "timestamp": stamp(start, number),
    }  # fmt: skip
    return Event("alert", body)


def _feed(still: StillHouse, dashboard: Dashboard, start: datetime, numbers: range) -> None:
    """Hours of bars, pair rows and alerts, in pieces that the page is let catch up with, as nobody drops a slow page here.

    Between two pieces all that is renewed from time to time is, and the line is lost and found.
    """
    for first in range(numbers.start, numbers.stop, PIECE):
        piece = range(first, min(first + PIECE, numbers.stop))
        told = [event for number in piece for event in (bar(start, number), pair_row(start, number))]
        send(still, [*told, *(_alert(start, number) for number in piece[::50])])
        newest = (start + timedelta(seconds=piece[-1])).timestamp()
        wait_until(partial(_has_drawn, dashboard, newest), 60, "last bar of a piece")
        dashboard.page.clock.fast_forward("00:12")  # less than what the page takes for a sleep
        dashboard.page.evaluate("dispatchEvent(new Event('online'))")
        wait_until(lambda: dashboard.look("live")["state"] == "live", 60, "line after it was lost")


def _has_drawn(dashboard: Dashboard, newest: float) -> bool:
    return bool(dashboard.page.evaluate("window.gems.newest()") == newest)


class Weight(NamedTuple):
    """What a page holds after its garbage is collected; nodes and listeners count what is off the document too."""

    heap_mb: float
    nodes: int
    listeners: int


def _weighed(session: "CDPSession") -> Weight:
    session.send("HeapProfiler.collectGarbage")
    metrics: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    named = {metric["name"]: metric["value"] for metric in metrics}
    return Weight(named["JSHeapUsedSize"] / 1e6, int(named["Nodes"]), int(named["JSEventListeners"]))


def _is_no_more(now: Weight, before: Weight) -> bool:
    grown = [after - at_first for after, at_first in zip(now, before, strict=True)]
    return all(more < most for more, most in zip(grown, MOST_GROWTH, strict=True))


def test_memory_does_not_grow_over_a_day(browser: "Browser", still: StillHouse) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.clock.install()
    dashboard = Dashboard(page, still.url).open()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    half = DAY_BARS // 2
    _feed(still, dashboard, start, range(half))
    before = _weighed(session)
    _feed(still, dashboard, start, range(half, DAY_BARS))
    # what is being drawn anew at this moment is held twice; what leaks stays
    wait_until(lambda: _is_no_more(_weighed(session), before), 60, f"weight of the page as before: {before}")
    rows = pytest.approx(5250, abs=250)
    assert page.evaluate("[window.gems.bars().length, window.gems.pairRows().length]") == [rows, rows]
    assert page.locator("#notices li").count() <= 4
    assert dashboard.faults == []
    page.context.close()


def test_sixty_updates_a_second_leave_the_page_responsive(page_of: Opens, still: StillHouse) -> None:
    """Six seconds of them: the page goes on drawing and takes what a person does, and it ends at the last one."""
    dashboard = page_of()
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=10)
    dashboard.page.evaluate(_COUNT_FRAMES)
    with connect_redis(still.settings) as client:
        for number in range(UPDATES):
            publish(client, [bar(start, number // 60, closed=False), pair_row(start, number)])
            time.sleep(1 / 60)  # the rate that is meant, not a wait
            if number % 90 == 0:
                dashboard.page.hover("#price-chart")
    last = (start + timedelta(seconds=UPDATES - 1)).timestamp()
    wait_until(lambda: dashboard.look("pairRows")[-1]["time"] == last, 60, "last update")
    assert dashboard.page.evaluate("window.frames_seen") > 30
    assert dashboard.faults == []


_COUNT_FRAMES = """window.frames_seen = 0; (function count() { window.frames_seen += 1; requestAnimationFrame(count); })()"""


def test_an_update_is_drawn_at_once(page_of: Opens, still: StillHouse) -> None:
    """Nothing on its way waits for a turn of its own: beside an answer of the web and a frame of the page, it takes not long."""
    dashboard = page_of()
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=20)
    delays_s, frames_s = [], []
    for number in range(8):
        moment = (start + timedelta(seconds=number)).timestamp()
        began_s = time.monotonic()
        dashboard.api("/api/ingestion/bars/?symbol=BTCUSDT&limit=1")
        dashboard.frame()
        sent_s = time.monotonic()
        send(still, [bar(start, number, closed=False)])
        wait_until(partial(_candle_drawn, dashboard, moment), 60, "candle of the update")
        frames_s.append(sent_s - began_s)
        delays_s.append(time.monotonic() - sent_s)
    assert min(delays_s) < 1 + 20 * min(frames_s), (delays_s, frames_s)  # a tenth, where the machine has nothing else to do


def _candle_drawn(dashboard: Dashboard, moment: float) -> bool:
    """Of all that is drawn, the last alone crosses over: thousands of rows take half a second."""
    return bool(dashboard.page.evaluate("window.gems.drawn().candles.at(-1).time") == moment)


def test_gaps_and_revisions_are_marked_on_their_candles(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.frame()
    bars = dashboard.api("/api/ingestion/bars/?symbol=BTCUSDT&order=asc&limit=1000")["bars"]
    times = [datetime.fromisoformat(bar["timestamp"]).timestamp() for bar in bars]
    assert dashboard.look("barMarks") == [[times[REVISED_AT - BARS], "circle"], [times[GAP_AT - BARS], "square"]]


def test_the_strip_turns_red_with_a_sentence_while_nobody_reports(page_of: Opens) -> None:
    dashboard = page_of()
    wait_until(lambda: dashboard.page.get_attribute("#strip", "data-level") == "bad", 60, "red strip")
    assert "No aggregator has reported" in dashboard.text("#verdicts")


def test_the_rows_in_view_are_saved_as_they_are(page_of: Opens) -> None:
    dashboard = page_of()
    with dashboard.page.expect_download() as saving:
        dashboard.page.click("#price-save")
    assert saving.value.suggested_filename == "BTCUSDT_1s.csv"
    lines = saving.value.path().read_text().splitlines()
    last = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    bar = dashboard.api("/api/ingestion/bars/?symbol=BTCUSDT&limit=1")["bars"][0]
    assert [last["timestamp"], float(last["close"])] == [bar["timestamp"], bar["close"]]
    assert int(last["tick_count"]) == bar["tick_count"]
