"""A doubt ends when the writers have all that was read: what is on its way to them then is no gap, what they lack is one."""

import time
from collections.abc import Iterator

import pytest

from common.trades import Trade
from tests.aggregator.by_hand import ByHand
from tests.aggregator.house import SECOND, each_second

VENUE = "binance.trade"
GAPS = "SELECT first_id, last_id, state FROM gaps ORDER BY first_id"


@pytest.fixture
def trades() -> list[Trade]:
    return each_second("A", ["1"] * 40, start_us=int(time.time()) // 60 * 60 * SECOND - 600 * SECOND)


@pytest.fixture
def by_hand(settings, redis_client, database, trades) -> Iterator[ByHand]:
    """Ten trades were stored before an aggregator first ran: it doubts."""
    made = ByHand(settings, redis_client, database)
    made.send(trades[:10], VENUE)
    made.write()
    made.start()
    yield made
    made.close()


def test_what_the_writers_do_not_have_yet_is_no_gap(by_hand: ByHand, trades: list[Trade]) -> None:
    by_hand.send(trades[10:13], VENUE)
    by_hand.aggregate()
    assert by_hand.is_doubting
    by_hand.write()
    by_hand.aggregate()
    assert not by_hand.is_doubting and by_hand.pipeline.rows(GAPS) == []


def test_nothing_more_is_read_until_they_have_it(by_hand: ByHand, trades: list[Trade]) -> None:
    """Under a feed that never pauses the writers are behind in every moment: the doubt ends all the same."""
    by_hand.send(trades[10:13], VENUE)
    by_hand.aggregate()
    by_hand.write()
    by_hand.send(trades[13:16], VENUE)
    by_hand.aggregate()
    assert not by_hand.is_doubting and by_hand.pipeline.rows(GAPS) == []


@pytest.mark.parametrize("refilled", [False, True], ids=["", "and filled again"])
def test_what_they_can_not_get_any_more_is_a_gap(by_hand: ByHand, trades: list[Trade], refilled: bool) -> None:
    """Also where new entries let it look as if the writers had got so far."""
    by_hand.send(trades[10:13], VENUE)
    by_hand.aggregate()
    by_hand.client.flushall()
    if refilled:
        by_hand.send(trades[13:16], VENUE)
        by_hand.write()
    by_hand.aggregate(looks=False)
    by_hand.send(trades[16 if refilled else 13 :], VENUE)
    by_hand.write()
    by_hand.aggregate()
    assert not by_hand.is_doubting
    assert by_hand.pipeline.rows(GAPS) == [(11, 13, "open")]
    by_hand.quiet(400)
    by_hand.rebuild()
    assert by_hand.pipeline.differences() == []
