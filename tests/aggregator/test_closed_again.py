"""Bars go in as new ones; where one is there already, all of that transaction go the careful way, with the same end."""

import pytest

from aggregator import statstage
from tests.aggregator.house import SECOND, START_US, House, each_second

_EARLIER = """
INSERT INTO processed_bars (symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap,
    taker_buy_volume, taker_buy_quote_volume, first_trade_id, last_trade_id, status)
VALUES ('A', '1s', to_timestamp(%s), %s, %s, %s, %s, 1, 1, %s, %s, 1, %s, %s, %s, 'complete')
"""


@pytest.fixture
def house(settings, redis_client, database):
    """A alone, with statistics of three bars."""
    made = House(settings.model_copy(update={"symbols": ("A",), "pairs": (), "stats_window": 3}), redis_client, database)
    made.leaves.ensure(database, [START_US])
    yield made
    made.close()


def bar_there(house: House, second: int, price: str, trade_id: int) -> None:
    """Somebody has stored a bar of one trade of size 1 that the aggregator has yet to close."""
    at_s = (START_US + second * SECOND) / SECOND
    house.rows(_EARLIER, at_s, price, price, price, price, price, price, price, trade_id, trade_id)


def told(house: House) -> list[tuple[str, int]]:
    """Kind and revision of the events of 1s bars, by second."""
    bars = [event for event in house.events if event.body.get("timeframe") == "1s" and event.event.startswith("bar")]
    return [(event.event, event.body["revision"]) for event in bars]


def closes(house: House) -> list[tuple[int, int]]:
    rows = house.rows("SELECT close, revision FROM processed_bars WHERE timeframe = '1s' ORDER BY timestamp")
    return [(int(close), revision) for close, revision in rows]


def test_a_bar_that_is_there_with_other_values_is_revised_and_its_neighbours_are_new(house):
    house.take(each_second("A", ["9"]))
    bar_there(house, 2, "50", 3)
    house.take(each_second("A", ["10", "11", "12", "13", "14"], first_id=2, start_us=START_US + SECOND))
    assert told(house) == [("bar", 0), ("bar", 0), ("bar.revised", 1), ("bar", 0)]
    assert closes(house) == [(9, 0), (10, 0), (11, 1), (12, 0)]
    assert house.rows("SELECT close::integer, revision FROM bar_revisions") == [(50, 0)]
    house.quiet(400)
    assert house.differences() == []


def test_a_bar_that_is_there_with_the_same_values_stays_and_is_not_told(house):
    house.take(each_second("A", ["9"]))
    bar_there(house, 2, "11", 3)
    house.take(each_second("A", ["10", "11", "12", "13", "14"], first_id=2, start_us=START_US + SECOND))
    assert told(house) == [("bar", 0)] * 3
    assert closes(house) == [(9, 0), (10, 0), (11, 0), (12, 0)]
    assert house.rows("SELECT count(*) FROM bar_revisions") == [(0,)]


def test_a_row_of_statistics_that_is_there_stays_and_its_neighbours_are_written(house):
    house.take(each_second("A", ["9"]))
    house.rows(
        f"INSERT INTO price_stats ({statstage.KEY}, has_gap) VALUES ('A', '1s', 3, to_timestamp(%s), true)",  # noqa: S608
        START_US / SECOND + 2,
    )
    house.take(each_second("A", ["10", "11", "12", "13", "14"], first_id=2, start_us=START_US + SECOND))
    rows = house.rows("SELECT has_gap, high_low_range FROM price_stats WHERE timeframe = '1s' ORDER BY timestamp")
    assert rows == [(False, 0), (False, 0), (True, None), (False, 0)]
