"""Heat map, scan and backtest: what stands there is what the API says, and a click looks at the pair or follows it."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.browser.looking import Dashboard
from tests.processes.house import wait_until

pytestmark = pytest.mark.browser
Opens = Callable[..., Dashboard]


def table(dashboard: Dashboard, rows: str) -> list[list[str]]:
    """Texts of the cells of a table's body."""
    found: list[list[str]] = dashboard.page.eval_on_selector_all(
        f"{rows} tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    )
    return found


def ranked_as(dashboard: Dashboard, expected: list[list[str]]) -> bool:
    return [row[1:3] for row in table(dashboard, "#scan-rows")] == expected


def test_the_heat_map_has_the_correlations_of_the_api_and_a_click_looks_at_the_pair(page_of: Opens) -> None:
    dashboard = page_of()
    page = dashboard.page
    wait_until(lambda: table(dashboard, "#heat tbody"), 60, "heat map")
    told = dashboard.api("/api/analytics/correlation/?window=60")
    for kind in ("returns", "prices"):
        page.select_option("#heat-of", kind)
        shown = [line[1:] for line in table(dashboard, "#heat tbody")]
        assert shown == [
            ["1" if row == column else f"{value:.2f}" for column, value in enumerate(line)] for row, line in enumerate(told[kind])
        ]
    page.click("#heat [data-pair=SOLUSDT_BTCUSDT]")
    wait_until(lambda: "pair=BTCUSDT_SOLUSDT" in dashboard.address, 60, "the live pair of the two")
    page.click("#heat [data-pair=ETHUSDT_SOLUSDT]")
    assert "pair=ETHUSDT_SOLUSDT" in dashboard.address


def test_a_scan_ranks_all_pairs_and_one_is_followed(page_of: Opens) -> None:
    dashboard = page_of("?window=30")
    page = dashboard.page
    page.click("#scan-start")
    wait_until(lambda: len(table(dashboard, "#scan-rows")) == 3, 60, "ranked pairs")
    for sort in ("coint_pvalue", "z_score"):
        page.select_option("#scan-sort", sort)
        told = dashboard.api(f"/api/analytics/scan/?window=30&sort={sort}")["pairs"]
        expected = [[f"{pair['symbol1']}/{pair['symbol2']}", f"{pair['coint_pvalue']:.4f}"] for pair in told]
        wait_until(partial(ranked_as, dashboard, expected), 60, f"order by {sort}")
    best = told[0]["symbol_pair"]
    page.click("#scan-rows tr:first-child >> text=Follow")
    wait_until(lambda: f"pair={best}&timeframe=1s&window=30" in dashboard.address, 60, "the pair in view")
    wait_until(lambda: len(dashboard.look("pairRows")) > 800, 60, "its rows")
    assert dashboard.api(f"/api/analytics/pairs/?symbol_pair={best}&window=30")["count"] == 1
    page.click("#pair-stop")  # others look at the same house
    wait_until(lambda: page.is_visible("#pair-keep"), 60, "button to keep it again")
    assert dashboard.faults == []


def test_a_backtest_shows_what_the_api_computes_and_marks_by_the_same_rules(page_of: Opens) -> None:
    dashboard = page_of()
    page = dashboard.page
    page.fill("#backtest-entry", "1.5")
    page.fill("#backtest-exit", "0.2")
    page.fill("#backtest-cost_bps", "1")
    page.click("#backtest-form button")
    page.wait_for_selector("#backtest-numbers dd")
    told = dashboard.api("/api/analytics/backtest/?symbol1=BTCUSDT&symbol2=ETHUSDT&window=60&entry=1.5&exit=0.2&cost_bps=1")
    pairs = "(cells) => cells.map((cell) => [...cell.children].map((part) => part.innerText))"
    numbers = dict(page.eval_on_selector_all("#backtest-numbers div", pairs))
    assert numbers["Trades"] == str(told["trade_count"])
    assert numbers["Profit after costs"].replace(",", "") == f"{told['profit']:.2f}"
    assert numbers["Sharpe, a year"].replace(",", "") == f"{told['sharpe']:.2f}"
    assert numbers["Drawdown"] == f"{100 * told['max_drawdown']:.2f} %"
    trades = table(dashboard, "#backtest-trades")
    assert [row[-1].replace(",", "") for row in trades] == [f"{trade['profit']:.2f}" for trade in reversed(told["trades"])]
    drawn = page.evaluate("window.gems.equity().map((point) => point.value)")
    assert drawn == [point["equity"] for point in told["equity"]]
    assert "entry=1.5&exit=0.2" in dashboard.address
    wait_until(lambda: "± 1.5" in page.inner_text("#pair-chart"), 60, "threshold on its pane")


def test_rules_that_make_no_sense_are_shown_at_their_field(page_of: Opens) -> None:
    dashboard = page_of()
    dashboard.page.fill("#backtest-exit", "5")
    dashboard.page.click("#backtest-form button")
    wait_until(lambda: "below entry" in dashboard.text("#backtest-fault"), 60, "sentence of the refusal")
    assert dashboard.page.get_attribute("#backtest-exit", "aria-invalid") == "true"


def test_live_pairs_are_the_newest_rows_of_the_api_asked_for_at_once(page_of: Opens) -> None:
    dashboard = page_of()
    told = dashboard.api("/api/analytics/pairs/?timeframe=1s&newest=true")["pairs"]
    expected = [
        [row["symbol_pair"].replace("_", "/"), f"{row['newest']['z_score']:.2f}", f"{row['newest']['correlation']:.3f}"]
        for row in told
    ]
    wait_until(lambda: [[row[0], row[1], row[3]] for row in table(dashboard, "#scanner-rows")] == expected, 60, "live pairs")
    assert len(expected) == 2
    assert not [address for address in dashboard.asked if "/analytics/spread/" in address and "limit=1&" in f"{address}&"]
