"""Ids that clients name are sparse: holes between them are no gaps; a venue's are counted, and a hole is one."""

import pytest

from common.trades import Trade
from tests.aggregator.house import SECOND, START_US

SPARSE = [Trade("A", 1000 * n * n, START_US + n * SECOND, "5", "1", "b") for n in range(1, 9)]
STATUSES = "SELECT DISTINCT status FROM processed_bars WHERE symbol = %s ORDER BY 1"


@pytest.mark.parametrize("src", ["api", "api.trade", "desk.trade"])
def test_holes_in_ids_that_clients_name_open_no_gap_and_mark_nothing(house, src):
    for trade in SPARSE:
        house.take([trade], src)
        house.start()
    house.quiet(400)
    assert house.rows("TABLE gaps") == [] and house.rows("TABLE dirty_ranges") == []
    assert house.rows(STATUSES, "A") == [("complete",), ("partial",)] and house.differences() == []


def test_a_venues_hole_is_a_gap_beside_ticks_without_ids_of_their_own(house):
    for n, trade in enumerate(SPARSE[:3]):
        house.take([Trade("A", -5 - 3 * n, trade.event_us + 10, "7", "1", "")], "api")
        house.take([trade._replace(trade_id=10 + n)])
    house.take([SPARSE[3]._replace(trade_id=15)])
    house.quiet(400)
    assert house.rows("SELECT symbol, first_id, last_id FROM gaps") == [("A", 13, 14)]
    assert ("gap",) in house.rows(STATUSES, "A") and house.differences() == []


def test_one_symbols_loose_ids_leave_the_others_gaps_alone(house):
    house.take(SPARSE, "api.trade")
    house.take([Trade("B", n, START_US + n * SECOND, "5", "1", "s") for n in (1, 2, 5, 6)])
    house.quiet(400)
    assert house.rows("SELECT symbol, first_id, last_id FROM gaps") == [("B", 3, 4)]
    assert house.rows(STATUSES, "A") == [("complete",), ("partial",)]


def test_a_repeated_client_id_counts_once_whatever_came_between(house):
    for trade in [*SPARSE[:4], *reversed(SPARSE), SPARSE[0]]:
        house.take([trade], "api.trade")
    house.quiet(400)
    house.rebuild_marks()
    assert house.differences() == [] and house.rows("SELECT max(tick_count) FROM processed_bars") == [(8,)]
