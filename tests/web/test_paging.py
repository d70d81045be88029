"""Pages: put together they are the whole list, whatever their size, whatever comes in meanwhile."""

import random
from typing import Any

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import connection as Connection

from tests.web.rows import add_bars, add_pair_rows, add_stats, add_ticks, second

TICKS = "/api/ingestion/ticks/?symbol=BTCUSDT"
BARS = "/api/ingestion/bars/?symbol=BTCUSDT&timeframe=1s"
SPREAD = "/api/analytics/spread/?symbol1=BTCUSDT&symbol2=ETHUSDT"
STATS = "/api/analytics/stats/?symbol=BTCUSDT"
ALERTS = "/api/analytics/alerts/?status=active"
Rows = list[dict[str, Any]]


def page_of(client: FlaskClient, path: str, cursor: str | None = None) -> tuple[Rows, str | None]:
    """The rows of a page, and its cursor; what it says of itself must fit."""
    answer = client.get(path + (f"&cursor={cursor}" if cursor else ""))
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    rows: Rows = next(value for value in body.values() if isinstance(value, list))
    assert body["count"] == len(rows)
    assert body["complete"] is (body["next_cursor"] is None)
    return rows, body["next_cursor"]


def all_pages(client: FlaskClient, path: str, limit: int) -> Rows:
    """The list, put together from pages of `limit`, all of them full but the last."""
    newest_first = "order=asc" not in path
    rows, cursor = page_of(client, f"{path}&limit={limit}")
    whole, sizes = rows, [len(rows)]
    while cursor:
        rows, cursor = page_of(client, f"{path}&limit={limit}", cursor)
        whole = whole + rows if newest_first else rows + whole
        sizes.append(len(rows))
        assert len(sizes) < 200, "pages without an end"
    assert all(size == limit for size in sizes[:-1])
    assert 0 < sizes[-1] <= limit
    return whole


@pytest.mark.parametrize("seed", range(2))
def test_pages_of_any_size_are_the_list_with_equal_stamps_too(client: FlaskClient, database: Connection, seed: int) -> None:
    """28 ticks on 5 stamps, of three days: most have the stamp of others, and some the place too."""
    dice = random.Random(seed)
    ids = dice.sample(range(-1000, 1000), 28)
    stamps = [second(n) for n in (0, 0.000001, 1, 86_400 * 1.5, 86_400 * 2)]
    ticks = [(n, dice.choice(stamps), "1.50", "2", None, dice.choice((None, 0, 1, 2))) for n in ids]
    add_ticks(database, "BTCUSDT", ticks)
    add_ticks(database, "ETHUSDT", ticks[:20])
    if seed % 2:
        add_bars(database, "BTCUSDT", [second(0), second(1), second(86_400 * 2)], tick_count=9)  # hints, wrong ones
    expected = sorted(ticks, key=lambda tick: (tick[1], tick[5] or 0, tick[0]), reverse=True)
    for order in ("desc", "asc"):
        whole, cursor = page_of(client, f"{TICKS}&order={order}&limit=28")
        assert cursor is None
        assert [row["trade_id"] for row in whole] == [tick[0] for tick in expected[:: 1 if order == "desc" else -1]]
        for limit in range(1, 8) if order == "desc" else (3,):
            assert all_pages(client, f"{TICKS}&order={order}", limit) == whole
    within = f"&start={second(0.000001).isoformat()[:-6]}Z&end={second(86_400 * 2).isoformat()[:-6]}Z"
    assert all_pages(client, TICKS + within, 7) == page_of(client, f"{TICKS}{within}&limit=60")[0]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_stamped_rows_are_the_list(client: FlaskClient, database: Connection, order: str) -> None:
    moments = [second(n * 0.5 * n) for n in range(0, 24, 2)]
    add_bars(database, "BTCUSDT", moments)
    add_pair_rows(database, "BTCUSDT_ETHUSDT", [{"timestamp": at, "spread": n} for n, at in enumerate(moments)])
    add_stats(database, "BTCUSDT", [(at, n / 2) for n, at in enumerate(moments)])
    for path in (BARS, f"{BARS}&fill=prev", f"{BARS}&as_of=2030-01-01T00:00:00Z", SPREAD, STATS):
        whole, _ = page_of(client, f"{path}&order={order}&limit=1000")
        assert len(whole) == 12 or "fill" in path
        for limit in (5, 11, 12):
            assert all_pages(client, f"{path}&order={order}", limit) == whole
        part = f"{path}&order={order}&start={second(8).isoformat()[:-6]}Z&end={second(50).isoformat()[:-6]}Z"
        assert all_pages(client, part, 3) == page_of(client, f"{part}&limit=1000")[0]


def test_filled_bars_of_all_pages_have_no_hole(client: FlaskClient, database: Connection) -> None:
    add_bars(database, "BTCUSDT", [second(n) for n in (0, 1, 9, 10, 30)])
    seen = [row["timestamp"][17:19] for row in all_pages(client, f"{BARS}&fill=prev", 4)]
    assert seen == [f"{n:02}" for n in range(30, -1, -1)]


def test_what_comes_in_meanwhile_moves_no_page(client: FlaskClient, database: Connection) -> None:
    add_ticks(database, "BTCUSDT", [(n, second(n // 4), "1", "1", None, None) for n in range(40)])
    first, cursor = page_of(client, f"{TICKS}&limit=10")
    add_ticks(database, "BTCUSDT", [(n, second(n // 4), "1", "1", None, None) for n in range(40, 60)])
    rest: Rows = []
    while cursor:
        rows, cursor = page_of(client, f"{TICKS}&limit=10", cursor)
        rest += rows
    assert [row["trade_id"] for row in first + rest] == [*range(39, -1, -1)]


def test_alerts_and_their_lists_have_pages(client: FlaskClient, database: Connection) -> None:
    with database, database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts (alert_type, symbol_pair, timeframe, condition)"
            " SELECT 'price_above', 'BTCUSDT', '1s', '{\"threshold\": 1}' FROM generate_series(1, 11)"
        )
        cursor.execute(
            "INSERT INTO alert_silences (symbol_pair, until, note) SELECT 'BTCUSDT', now() + interval '1 day', n::text"
            " FROM generate_series(1, 11) AS n"
        )
    for path in (ALERTS, f"{ALERTS}&order=asc", "/api/analytics/alerts/silences/?symbol_pair=BTCUSDT"):
        whole, _ = page_of(client, f"{path}&limit=100")
        assert len(whole) == 11
        assert all_pages(client, path, 4) == all_pages(client, path, 11) == whole


@pytest.mark.parametrize("path", [TICKS, BARS, SPREAD, STATS, ALERTS, "/api/analytics/alerts/events/?severity=info"])
@pytest.mark.parametrize(
    "cursor",
    ["x", "ticks", "bars.", "bars.x", "bars.1.2", "ticks.1.2", "bars.-1", "bars.9223372036854775807",
     "alerts.99999999999999999999", "ticks.1.1.1e3", "bars.%D9%A1", "events.%01", "1700000000000", "bars." + "9" * 6000],
)  # fmt: skip
def test_a_cursor_of_nobody_is_400(storeless: FlaskClient, path: str, cursor: str) -> None:
    answer = storeless.get(f"{path}&cursor={cursor}")
    assert (answer.status_code, answer.get_json()["field"]) == (400, "cursor")
    assert "must be the next_cursor" in answer.get_json()["error"]


def test_a_cursor_with_nul_is_400(storeless: FlaskClient) -> None:
    answer = storeless.get(f"{TICKS}&cursor=events.%00")
    assert answer.get_json()["error"] == r"cursor must be text without NUL, was 'events.\x00'"
