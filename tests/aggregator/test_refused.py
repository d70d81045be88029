"""A trade that PostgreSQL refused after the aggregator had counted it, and stores later: its bars have it in the end."""

import pytest

from common.partitions import ensure_tick_leaves
from common.trades import Trade, from_us
from consumer.store import TickStore
from tests.aggregator.house import SECOND, START_US, House, each_second

POISON = Trade("A", 5, START_US + 4 * SECOND + 100_000, "13", "1", "b")
TRADES = [*each_second("A", ["5"] * 4), POISON, *each_second("A", ["6"] * 5, first_id=6, start_us=START_US + 5 * SECOND)]
RULE = "ALTER TABLE raw_ticks ADD CONSTRAINT unlucky CHECK (price <> 13)"
HIGHS = "SELECT timeframe, max(high), sum(tick_count)::int FROM processed_bars WHERE symbol = 'A' GROUP BY 1 ORDER BY 1"


@pytest.fixture
def refusing(house: House) -> House:
    """Everything was counted, one trade was refused."""
    ensure_tick_leaves(house.database, [from_us(START_US + day * 86_400 * SECOND).date() for day in (0, 1)])
    house.rows(RULE)
    house.take(TRADES)
    assert house.rows("SELECT payload FROM dead_letters")[0][0].startswith("A,5,")
    return house


def the_rule_goes(house: House) -> None:
    house.rows("ALTER TABLE raw_ticks DROP CONSTRAINT unlucky")


@pytest.mark.parametrize("closed_s", [2, 70, 400])
@pytest.mark.parametrize("by", ["the same worker", "another worker", "a worker that was started again"])
def test_a_trade_that_is_taken_at_last_is_in_its_bars(refusing, by, closed_s):
    house = refusing
    house.quiet(closed_s)
    house.rebuild_marks()
    assert house.differences() == []
    the_rule_goes(house)
    if by != "the same worker":
        house.ticks = TickStore(house.ticks.connection, "worker-1" if by == "another worker" else "worker-0")
    house.take([POISON])
    assert house.rows("SELECT price FROM raw_ticks WHERE trade_id = 5") == [(13,)]
    house.rebuild_marks()
    house.quiet(400)
    house.rebuild_marks()
    assert house.differences() == []
    assert house.rows(HIGHS) == [("1m", 13, 10), ("1s", 13, 10), ("5m", 13, 10)]


def test_a_worker_at_work_learns_what_another_has_refused(house):
    other = TickStore(house.ticks.connection, "worker-1")
    house.take(TRADES[:2])
    first, house.ticks = house.ticks, other
    house.rows(RULE)
    house.take(TRADES[2:])
    house.quiet(400)
    house.rebuild_marks()
    the_rule_goes(house)
    house.ticks = first
    house.take([POISON])
    house.rebuild_marks()
    assert house.differences() == [] and house.rows(HIGHS)[1] == ("1s", 13, 10)


def test_only_the_refused_trade_is_marked_and_only_when_it_comes_again(refusing):
    house = refusing
    house.quiet(400)
    house.rebuild_marks()
    the_rule_goes(house)
    house.take([trade for trade in TRADES if trade != POISON])
    house.take([POISON._replace(event_us=POISON.event_us + 86_400 * SECOND)])
    again = "SELECT symbol, first_us, last_us FROM dirty_ranges WHERE reason = 'a row that was refused came again'"
    assert house.rows(again) == []
    house.take([POISON])
    assert house.rows(again) == [("A", POISON.event_us, POISON.event_us)]
