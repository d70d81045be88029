"""Redis is flushed at moments when nothing in it tells so afterwards: the bars are those of the stored ticks all the same."""

import time
from collections.abc import Iterator

import pytest

from aggregator.unstored import NEVER_US
from common.trades import Trade
from tests.aggregator.by_hand import ByHand
from tests.aggregator.house import SECOND, each_second


@pytest.fixture
def by_hand(settings, redis_client, database) -> Iterator[ByHand]:
    made = ByHand(settings, redis_client, database)
    yield made
    made.close()


@pytest.fixture
def trades() -> list[Trade]:
    """A trade every ten seconds for a thousand: of a bar of five minutes alone, its rebuild would mend them all."""
    start_us = int(time.time()) // 300 * 300 * SECOND - 1200 * SECOND
    return each_second("A", ["1", *[""] * 9] * 100, start_us=start_us)


def check_bars(by_hand: ByHand) -> None:
    by_hand.aggregate()
    by_hand.quiet(400)
    by_hand.rebuild()
    assert by_hand.pipeline.differences() == []


@pytest.mark.parametrize("goes_on", [False, True], ids=["", "and the feed goes on"])
def test_before_the_first_entry_was_read(by_hand: ByHand, trades: list[Trade], goes_on: bool) -> None:
    by_hand.start()
    by_hand.aggregate()
    by_hand.send(trades[:50])
    by_hand.write()
    by_hand.client.flushall()
    if goes_on:
        by_hand.send(trades[50:60])
        by_hand.write()
    by_hand.start()
    by_hand.aggregate()
    by_hand.send(trades[60:])
    by_hand.write()
    check_bars(by_hand)


def test_twice_and_nothing_was_read_in_between(by_hand: ByHand, trades: list[Trade]) -> None:
    by_hand.start()
    by_hand.send(trades[:50])
    by_hand.write()
    by_hand.aggregate()
    by_hand.client.flushall()
    by_hand.aggregate()
    by_hand.send(trades[50:70])
    by_hand.write()
    by_hand.client.flushall()
    by_hand.start()
    by_hand.aggregate()
    by_hand.send(trades[70:])
    by_hand.write()
    check_bars(by_hand)


def test_while_writers_are_far_behind(by_hand: ByHand, trades: list[Trade]) -> None:
    """The aggregator asks how far they are: what they had stored when Redis was flushed is not in question."""
    by_hand.start()
    for at in range(0, 10, 5):
        by_hand.send(trades[at : at + 5])
        by_hand.write()
        by_hand.aggregate()
    assert by_hand.unstored_since_us() == NEVER_US
    by_hand.send(trades[10:90])
    by_hand.aggregate()
    assert by_hand.unstored_since_us() == trades[10].event_us
    by_hand.client.flushall()
    by_hand.aggregate()
    assert by_hand.unstored_since_us() == NEVER_US
    by_hand.send(trades[90:])
    by_hand.write()
    check_bars(by_hand)


def test_a_restart_before_the_first_entry_doubts_nothing(by_hand: ByHand, trades: list[Trade]) -> None:
    by_hand.start()
    by_hand.aggregate()
    by_hand.send(trades)
    by_hand.start()
    by_hand.aggregate()
    assert not by_hand.service._core.has_doubted
    by_hand.write()
    check_bars(by_hand)
