"""A mark of a symbol that no aggregator has committed a trade of waits: what one holds in memory would undo its rebuild."""

import math
from collections.abc import Iterator

import pytest

from aggregator import marks
from aggregator.barstore import BarLeaves
from aggregator.marks import Rebuilder
from common.partitions import ensure_tick_leaves
from common.trades import Trade, from_us
from tests.aggregator.by_hand import ByHand
from tests.aggregator.house import SECOND, START_US

HIGHS = "SELECT timeframe, high FROM processed_bars WHERE symbol = 'A' ORDER BY 1"
MARKED = "SELECT DISTINCT reason FROM dirty_ranges WHERE symbol = 'A'"
WHOLE = [("1m", 5), ("1s", 5), ("5m", 5)]


@pytest.fixture
def by_hand(settings, redis_client, database, monkeypatch) -> Iterator[ByHand]:
    monkeypatch.setattr(marks, "QUIET_S", 0.0)
    made = ByHand(settings, redis_client, database)
    yield made
    made.close()


def store_another_way(by_hand: ByHand, price: int) -> None:
    ensure_tick_leaves(by_hand.database, [from_us(START_US).date()])
    by_hand.pipeline.rows("INSERT INTO raw_ticks VALUES ('A', 7, %s, %s, 1, 'b') RETURNING 1", from_us(START_US), price)


def rebuild(by_hand: ByHand) -> None:
    rebuilder = Rebuilder(by_hand.settings, by_hand.client, by_hand.database, BarLeaves())
    for _ in range(3):
        rebuilder.turn()


@pytest.mark.parametrize("others", [0, 1], ids=["nothing was read before", "another symbol was"])
def test_a_copy_that_lost_among_the_first_trades_of_a_symbol_is_in_no_bar(by_hand: ByHand, others: int) -> None:
    by_hand.start()
    by_hand.send([Trade("B", 1, START_US, "1", "1")] * others)
    by_hand.write()
    by_hand.aggregate()
    store_another_way(by_hand, 5)
    by_hand.send([Trade("A", 7, START_US, "99", "1", "b")])
    by_hand.service._next_commit_s = math.inf
    by_hand.service._turn()  # read, and not committed yet
    by_hand.write()
    rebuild(by_hand)
    assert by_hand.pipeline.rows(MARKED) == [("a copy had other values",)]
    assert by_hand.pipeline.rows(HIGHS) == []
    by_hand.service._commit()
    rebuild(by_hand)
    by_hand.quiet(600)
    rebuild(by_hand)
    assert by_hand.pipeline.rows(HIGHS) == WHOLE and by_hand.pipeline.rows(MARKED) == []


def test_what_was_stored_before_the_first_checkpoint_is_marked_until_its_bars_can_be_made(by_hand: ByHand) -> None:
    """Until something is read there is no time up to which bars are closed."""
    store_another_way(by_hand, 5)
    by_hand.start()
    rebuild(by_hand)
    assert by_hand.pipeline.rows(MARKED) == [("stored before the first checkpoint",)]
    by_hand.send([Trade("B", 1, START_US + 900 * SECOND, "1", "1")])
    by_hand.write()
    by_hand.aggregate()
    rebuild(by_hand)
    assert by_hand.pipeline.rows(HIGHS) == WHOLE and by_hand.pipeline.rows(MARKED) == []
