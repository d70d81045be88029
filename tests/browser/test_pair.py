"""The pair panel: what is drawn is what the API says, and any live series can be picked, kept and stopped."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.browser.looking import Dashboard
from tests.processes.house import wait_until

pytestmark = pytest.mark.browser
Opens = Callable[..., Dashboard]
ROWS = "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT&timeframe=1s&limit=1000"


def told(dashboard: Dashboard, more: str = "") -> dict[float, Any]:
    """Rows of the API by their time."""
    rows = dashboard.api(ROWS + more)["analytics"]
    return {datetime.fromisoformat(row["timestamp"]).timestamp(): row for row in rows}


def drawn(dashboard: Dashboard, name: str) -> dict[float, float]:
    """Values of a line by their time."""
    dashboard.frame()
    return {point["time"]: point["value"] for point in dashboard.look("drawn")[name] if "value" in point}


def full(dashboard: Dashboard) -> Dashboard:
    wait_until(lambda: len(dashboard.look("pairRows")) > 800, 60, "rows of the pair")
    return dashboard


def test_every_pane_draws_the_rows_of_the_api(page_of: Opens) -> None:
    dashboard = full(page_of())
    rows = told(dashboard)
    lines = {
        "spread": "spread", "z": "z_score", "hedge": "hedge_ratio", "correlation": "correlation", "pvalue": "adf_pvalue",
        "halfLife": "half_life",
    }  # fmt: skip
    for line, column in lines.items():
        expected = {at: row[column] for at, row in rows.items() if row[column] is not None}
        assert drawn(dashboard, line) == expected, line
        assert len(expected) > 700, line
    row = max(rows.items())[1]
    assert dashboard.text("#numbers").split() >= [f"{row['z_score']:.3f}"]
    assert dashboard.faults == []


def test_bands_are_the_mean_and_two_deviations(page_of: Opens) -> None:
    dashboard = full(page_of())
    upper = drawn(dashboard, "upper")
    for at, row in told(dashboard).items():
        if row["rolling_std"] is not None:
            assert upper[at] == pytest.approx(row["rolling_mean"] + 2 * row["rolling_std"])


def test_marks_enter_at_the_threshold_and_leave_within_the_exit(page_of: Opens) -> None:
    dashboard = full(page_of("?entry=1.5&exit=0.25"))
    dashboard.frame()
    rows = told(dashboard)
    expected: list[tuple[float, bool]] = []
    side = 0
    for at, z in ((at, rows[at]["z_score"]) for at in sorted(rows) if rows[at]["z_score"] is not None):
        if side == 0 and abs(z) >= 1.5:
            side = 1 if z > 0 else -1
            expected.append((at, True))
        elif side and z * side <= 0.25:
            side = 0
            expected.append((at, False))
    assert [(mark["time"], mark["enter"]) for mark in dashboard.look("marks")] == expected
    assert len(expected) > 10
    assert "± 1.5" in dashboard.text("#pair-chart")


def test_a_series_is_computed_kept_live_and_stopped(page_of: Opens) -> None:
    dashboard = page_of("?pair=BTCUSDT_ETHUSDT&window=20&method=tls%2Blog")
    page = dashboard.page
    page.click("#pair-chart >> text=Keep it live")
    full(dashboard)
    assert drawn(dashboard, "z") == {
        at: row["z_score"] for at, row in told(dashboard, "&window=20&method=tls%2Blog").items() if row["z_score"] is not None
    }
    series = "BTCUSDT_ETHUSDT|20|tls+log"
    wait_until(lambda: page.query_selector(f"#pick-pair optgroup[label=Live] option[value='{series}']"), 60, "series to pick")
    assert page.input_value("#pick-pair") == series
    page.select_option("#pick-pair", "BTCUSDT_SOLUSDT|60|ols")
    assert "pair=BTCUSDT_SOLUSDT" in dashboard.address
    page.go_back()
    wait_until(lambda: dashboard.look("view")["method"] == "tls+log", 60, "series before")
    page.click("#pair-stop")
    wait_until(lambda: page.is_visible("#pair-keep"), 60, "button to keep it again")
    assert "method=tls%2Blog" in dashboard.address
    assert "tls+log" not in [pair["method"] for pair in dashboard.api("/api/analytics/pairs/?timeframe=1s")["pairs"]]


def test_a_method_that_does_not_exist_says_so(page_of: Opens) -> None:
    dashboard = page_of("?method=magic")
    wait_until(lambda: "magic" in dashboard.text("#pair-chart"), 60, "sentence about the method")
