"""Ids in random order, more than the aggregator remembers: what it can not prove is rebuilt, and equals the ticks."""

import random

import pytest

from common.trades import Trade
from tests.aggregator.house import SECOND, START_US


@pytest.mark.parametrize("src", ["binance.trade", "api.trade"])
def test_a_shuffled_file_of_more_intervals_than_are_remembered_ends_in_bars_of_the_ticks(house, monkeypatch, src):
    monkeypatch.setattr("aggregator.intervals.MOST_INTERVALS", 40)
    trades = [Trade("A", 1 + n, START_US + n * SECOND // 5, f"{100 + n % 7}.5", "0.25", "bs"[n % 2]) for n in range(600)]
    rng = random.Random(7)
    rng.shuffle(trades)
    fed = [*trades, *rng.sample(trades, 100)]
    for at in range(0, len(fed), 37):
        house.take(fed[at : at + 37], src)
        if at % 3 == 0:
            house.start()
    house.rebuild_marks()  # the marks of late trades go before the 5m bar closes
    house.quiet(400)
    house.rebuild_marks()
    assert house.differences() == []
    assert house.rows("SELECT sum(tick_count) FROM processed_bars WHERE timeframe = '1s'") == [(600,)]
    if src == "binance.trade":
        assert house.rows("SELECT count(*) FROM gaps WHERE state <> 'closed'") == [(0,)]
