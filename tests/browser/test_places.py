"""A moment without a row has its place: the same moment stands at the same place in each chart, and time goes on evenly."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.events import bar, pair_row, send
from tests.browser.looking import Dashboard
from tests.browser.still import StillHouse
from tests.processes.house import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Opens = Callable[..., Dashboard]
QUIET_VIEW = "?symbol=SOLUSDT&pair=BTCUSDT_SOLUSDT"
#: Of each time that both charts have rows of and show: the time, and where it stands in each.
_BOTH = """() => {
  const ours = new Set(window.gems.bars().map((bar) => bar.time));
  const both = window.gems.pairRows().map((row) => row.time).filter((time) => ours.has(time));
  return both.map((time) => [time, window.gems.xOf("candles", time), window.gems.xOf("spread", time)]).filter(([, x]) => x > 0);
}"""


def run(page: "Page", body: str) -> Any:
    imported = "const { Places } = await import('/static/js/places.js');"
    rows = "const of = (...times) => times.map((time) => ({ time }));"
    return page.evaluate(f"async () => {{ {imported} {rows} {body} }}")


def test_each_moment_between_rows_has_a_place(page: "Page") -> None:
    empty, times = run(page, "const p = new Places(() => 5); const empty = p.lay(of(0, 5, 20, 25)); return [empty, p.times];")
    assert (empty, times) == ([10, 15], [0, 5, 10, 15, 20, 25])


def test_a_row_that_comes_late_in_time_brings_the_places_before_it(page: "Page") -> None:
    given = run(
        page,
        "const p = new Places(() => 1); p.lay(of(7)); return [[8, 11, 11, 10].map((time) => p.extend(time)), p.times];",
    )
    assert given == [[[], [9, 10], [], []], [7, 8, 9, 10, 11]]
    assert run(page, "const p = new Places(() => 1); return [p.extend(7), p.times];") == [[], [7]]


def test_a_long_pause_stays_closed_and_so_do_the_oldest_of_too_many(page: "Page") -> None:
    assert run(page, "return new Places(() => 1).lay(of(0, 302, 304));") == [303]
    empty, places = run(
        page,
        "const p = new Places(() => 1), rows = of(...Array.from({ length: 200 }, (_, at) => at * 101));"
        " const empty = p.lay(rows); return [empty, p.length];",
    )
    assert (len(empty), places) == (15_000, 15_200)
    assert empty[-1] == 199 * 101 - 1


def test_a_place_and_its_moment_belong_together(page: "Page") -> None:
    """Also beyond both ends, where it goes on evenly."""
    made = "const p = new Places(() => 60); p.lay(of(600, 660, 900));"
    there = run(page, f"{made} return [-3, 0, 1, 2, 5, 9].map((at) => p.timeAt(at));")
    assert there == [420, 600, 660, 720, 900, 1140]
    assert run(page, f"{made} return {there}.map((at) => p.indexOf(at));") == [-3, 0, 1, 2, 5, 9]


def apart(both: list[list[float]]) -> list[tuple[float, float]]:
    """How far each moment stands from its place in the other chart, and from where an even time would have it; in pixels."""
    (first_s, first_x, _), (last_s, last_x, _) = both[0], both[-1]
    a_second = (last_x - first_x) / (last_s - first_s)
    return [(price - pair, price - first_x - (time_s - first_s) * a_second) for time_s, price, pair in both]


def in_line(dashboard: Dashboard) -> bool:
    dashboard.frame()
    both = dashboard.page.evaluate(_BOTH)
    return len(both) > 100 and all(abs(distance) < 1 for distances in apart(both) for distance in distances)


def test_a_symbol_that_trades_rarely_stands_in_line_with_its_pair(page_of: Opens, still: StillHouse) -> None:
    dashboard = page_of(QUIET_VIEW)
    wait_until(lambda: dashboard.look("pairRows"), 60, "rows of the pair")
    dashboard.page.mouse.move(1, 1)
    wait_until(lambda: in_line(dashboard), 60, "charts in line")
    start = datetime.fromtimestamp(dashboard.look("newest"), UTC) + timedelta(seconds=30)
    for second in (0, 1, 9, 10, 30):
        rows = [pair_row(start, at, pair="BTCUSDT_SOLUSDT") for at in range(second + 1)]
        send(still, [*rows, bar(start, second, symbol="SOLUSDT")])
        newest = (start + timedelta(seconds=second)).timestamp()
        wait_until(lambda: dashboard.look("newest") == newest, 60, "what was sent")  # noqa: B023 - called at once
        wait_until(lambda: in_line(dashboard), 60, "charts in line after a quiet time")
    assert dashboard.page.evaluate("window.gems.bars().length") < dashboard.page.evaluate("window.gems.pairRows().length")
