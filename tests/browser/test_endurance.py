"""A page that stays open all day: memory does not grow, updates do not freeze it, and its strip says what is wrong."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import CDPSession

from common.events import Event, publish
from common.streams import connect_redis
from tests.browser.looking import Dashboard
from tests.browser.still import GAP_AT, REVISED_AT, StillHouse
from tests.processes.house import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
Opens = Callable[..., Dashboard]
DAY_BARS = 24_000  # past the bound of the page's rows four times
MOST_GROWTH_MB = 12


def _stamp(start: datetime, number: int) -> str:
    return (start + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bar(start: datetime, number: int, closed: bool = True) -> Event:
    price = 43000 + number % 97
    body = {
        "symbol": "BTCUSDT", "timeframe": "1s", "timestamp": _stamp(start, number), "open": price, "high": price + 2,
        "low": price - 2, "close": price + 1, "volume": 1.5, "tick_count": 3, "status": "complete", "revision": 0,
        "closed": closed,
    }  # fmt: skip
    return Event("bar" if closed else "bar.open", body)


def _pair_row(start: datetime, number: int) -> Event:
    statistics = dict.fromkeys(("hedge_ratio", "intercept", "rolling_mean", "rolling_std", "correlation", "half_life"), 1.25)
    body = {
        "symbol_pair": "BTCUSDT_ETHUSDT", "timeframe": "1s", "window": 60, "method": "ols", "timestamp": _stamp(start, number),
        "symbol1_price": 43000.5, "symbol2_price": 2200.25, "spread": number % 7,
        "z_score": number % 7 - 3, "revision": 0, **statistics,
    }  # fmt: skip
    return Event("spread", body)


def _send(still: StillHouse, events: list[Event]) -> None:
    with connect_redis(still.settings) as client:
        publish(client, events)


def _feed(still: StillHouse, dashboard: Dashboard, start: datetime, numbers: range) -> None:
    """Bars and pair rows of some time, in pieces that the page is let catch up with, as nobody drops a slow page here."""
    for first in range(numbers.start, numbers.stop, 500):
        piece = range(first, min(first + 500, numbers.stop))
        _send(still, [event for number in piece for event in (_bar(start, number), _pair_row(start, number))])
        newest = (start + timedelta(seconds=piece[-1])).timestamp()
        wait_until(partial(_has_drawn, dashboard, newest), 30, "last bar of a piece")


def _has_drawn(dashboard: Dashboard, newest: float) -> bool:
    return bool(dashboard.page.evaluate("window.gems.newest()") == newest)


def _heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"]) / 1e6


def test_memory_does_not_grow_over_a_day(page_of: Opens, still: StillHouse) -> None:
    dashboard = page_of()
    session = dashboard.page.context.new_cdp_session(dashboard.page)
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    half = DAY_BARS // 2
    _feed(still, dashboard, start, range(half))
    dashboard.frame()
    before_mb, nodes = _heap_mb(session), dashboard.page.evaluate("document.getElementsByTagName('*').length")
    _feed(still, dashboard, start, range(half, DAY_BARS))
    dashboard.frame()
    assert _heap_mb(session) - before_mb < MOST_GROWTH_MB
    assert abs(dashboard.page.evaluate("document.getElementsByTagName('*').length") - nodes) < 50
    assert dashboard.page.evaluate("[window.gems.bars().length, window.gems.pairRows().length]") == [
        pytest.approx(5250, abs=250), pytest.approx(5250, abs=250),
    ]  # fmt: skip
    assert dashboard.faults == []


def test_sixty_updates_a_second_leave_the_page_responsive(page_of: Opens, still: StillHouse) -> None:
    """Ten seconds of them: the page goes on drawing and takes what a person does, and it ends at the last one."""
    dashboard = page_of()
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=10)
    dashboard.page.evaluate(_COUNT_FRAMES)
    with connect_redis(still.settings) as client:
        for number in range(600):
            publish(client, [_bar(start, number // 60, closed=False), _pair_row(start, number)])
            time.sleep(1 / 60)  # the rate that is meant, not a wait
            if number % 100 == 0:
                dashboard.page.hover("#price-chart")
    last = (start + timedelta(seconds=599)).timestamp()
    wait_until(lambda: dashboard.look("pairRows")[-1]["time"] == last, 15, "last update")
    assert dashboard.page.evaluate("window.frames_seen") > 50
    assert dashboard.faults == []


_COUNT_FRAMES = """window.frames_seen = 0; (function count() { window.frames_seen += 1; requestAnimationFrame(count); })()"""


def test_gaps_and_revisions_are_marked_on_their_candles(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.frame()
    bars = dashboard.api("/api/ingestion/bars/?symbol=BTCUSDT&order=asc&limit=1000")["bars"]
    times = [datetime.fromisoformat(bar["timestamp"]).timestamp() for bar in bars]
    assert dashboard.look("barMarks") == [[times[REVISED_AT], "circle"], [times[GAP_AT], "square"]]


def test_the_strip_turns_red_with_a_sentence_while_nobody_reports(page_of: Opens) -> None:
    dashboard = page_of()
    wait_until(lambda: dashboard.page.get_attribute("#strip", "data-level") == "bad", 15, "red strip")
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
