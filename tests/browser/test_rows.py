"""Rows of the dashboard: bounded, sorted, and never told backwards; the module runs in the browser that it is for."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def run(page: "Page", body: str) -> Any:
    return page.evaluate(f"async () => {{ const {{ Rows }} = await import('/static/js/rows.js'); {body} }}")


def test_rows_are_bounded_however_long_the_page_is_open(page: "Page") -> None:
    length, first, last = run(
        page,
        "const rows = new Rows(1000); for (let time = 0; time < 86400; time += 1) rows.put({time});"
        " return [rows.length, rows.first.time, rows.last.time];",
    )
    assert 1000 <= length <= 1500
    assert (first, last) == (86400 - length, 86399)


def test_an_open_bar_never_undoes_a_closed_one_nor_a_revision_its_correction(page: "Page") -> None:
    row = run(
        page,
        "const rows = new Rows(); rows.put({time: 1, close: 2, closed: true, revision: 1});"
        " rows.put({time: 1, close: 9, closed: false}); rows.put({time: 1, close: 8, closed: true, revision: 0});"
        " return rows.last;",
    )
    assert row == {"time": 1, "close": 2, "closed": True, "revision": 1}


def test_rows_in_any_order_are_sorted_and_told_once(page: "Page") -> None:
    times = run(
        page,
        "const rows = new Rows(); for (const time of [5, 3, 9, 3, 1, 9, 7]) rows.put({time});"
        " return rows.all.map((row) => row.time);",
    )
    assert times == [1, 3, 5, 7, 9]


def test_history_past_the_bound_lets_the_newest_go_and_takes_no_live_row_then(page: "Page") -> None:
    detached, last, length = run(
        page,
        "const rows = new Rows(100); const page = (from, to) => Array.from({length: to - from}, (_, at) => ({time: from + at}));"
        " page(900, 1000).forEach((row) => rows.put(row)); rows.putOlder(page(0, 900)); rows.put({time: 1000});"
        " return [rows.detached, rows.last.time, rows.length];",
    )
    assert (detached, last, length) == (True, 99, 100)


def test_a_page_that_replaces_all_keeps_what_was_told_while_it_was_fetched(page: "Page") -> None:
    times, revision = run(
        page,
        "const rows = new Rows(); [1, 2].forEach((time) => rows.put({time, revision: 0, closed: true})); rows.note();"
        " rows.put({time: 7, revision: 0, closed: true}); rows.put({time: 5, revision: 1, closed: true});"
        " rows.replace([4, 5, 6].map((time) => ({time, revision: 0, closed: true})));"
        " return [rows.all.map((row) => row.time), rows.at(5).revision];",
    )
    assert (times, revision) == ([4, 5, 6, 7], 1)
