"""The day's trades on disk: paging, torn tails, retention."""

from pathlib import Path

import numpy as np
import pytest

from ops.exchange.aggregate import TRADE, Rows, aggregates
from ops.exchange.history import KEPT_US, SEGMENT_SPAN_US, History

FIRST_ID = 5_000_000


def made(count: int, first_id: int = FIRST_ID, start_us: int = 1_000_000, gap_us: int = 10) -> Rows:
    rows = np.zeros(count, TRADE)
    places = np.arange(first_id, first_id + count)
    rows["id"], rows["agg_id"], rows["time_us"] = places, places // 3, start_us + (places - first_id) // 3 * gap_us
    rows["price"], rows["size"] = 100 + places % 7, 1 + places % 5
    return rows


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path, segment_rows=1000)


def filled(history: History, rows: Rows, at_once: int = 300) -> Rows:
    for start in range(0, len(rows), at_once):
        history.append(rows[start : start + at_once])
    return rows


def test_pages_over_segments_are_what_was_written(history: History, tmp_path: Path) -> None:
    rows = filled(history, made(5000))
    assert len(list(tmp_path.glob("*.trades"))) > 3
    pages = [history.read(from_id, 700) for from_id in range(FIRST_ID, FIRST_ID + 5000, 700)]
    assert np.array_equal(np.concatenate(pages), rows)
    assert np.array_equal(history.newest(1234), rows[-1234:])
    assert len(history.read(FIRST_ID + 5000, 10)) == 0
    assert history.read(0, 1)[0] == rows[0]


def test_trade_is_found_by_time_and_by_aggregate(history: History) -> None:
    rows = filled(history, made(5000))
    for place in range(0, 5000, 611):
        for field in ("time_us", "agg_id"):
            value = int(rows[field][place])
            assert history.id_at(field, value) == rows["id"][np.flatnonzero(rows[field] >= value)[0]]
    assert history.id_at("time_us", 10**15) == history.next_id()
    assert np.array_equal(history.read_aggregates(FIRST_ID, 1500), aggregates(rows)[:1500])


def test_torn_tail_is_cut_and_ids_go_on(history: History, tmp_path: Path) -> None:
    rows = filled(history, made(1500))
    history.close()
    newest = max(tmp_path.glob("*.trades"))
    with newest.open("ab") as file:
        file.write(b"x" * (TRADE.itemsize - 1))
    again = History(tmp_path, segment_rows=1000)
    assert again.next_id() == FIRST_ID + 1500
    again.append(made(10, FIRST_ID + 1500, start_us=2_000_000))
    assert np.array_equal(again.read(FIRST_ID, 1500), rows)
    assert again.newest(1)["id"][0] == FIRST_ID + 1509


def test_empty_history_has_no_last_trade(history: History) -> None:
    assert history.last() is None
    assert len(history.newest(5)) == len(history.read_aggregates(0, 5)) == 0


def test_old_segments_go_and_the_newest_stays(history: History, tmp_path: Path) -> None:
    filled(history, made(3000, gap_us=SEGMENT_SPAN_US // 100))
    files = len(list(tmp_path.glob("*.trades")))
    last = history.last()
    assert last is not None and files > 5
    history.drop_old(int(last["time_us"]) + 10 * KEPT_US)
    assert len(list(tmp_path.glob("*.trades"))) == 1
    assert history.last() == last and history.next_id() == FIRST_ID + 3000


def test_number_of_trades_kept_is_bounded(tmp_path: Path) -> None:
    history = History(tmp_path, kept_rows=2500, segment_rows=1000)
    filled(history, made(10_000))
    history.drop_old(0)
    assert 1000 <= len(history.read(0, 20_000)) <= 2500
