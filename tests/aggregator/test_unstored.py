"""What was read and may not be stored yet, by symbol and day, for the doubt that may come."""

import orjson

from aggregator import checkpoint
from aggregator.core import Core
from aggregator.unstored import NEVER_US
from common.trades import US_PER_DAY, Trade
from tests.aggregator.house import SECOND, START_US, each_second
from tests.aggregator.test_checkpoint import step

TIMEFRAMES = ("1s", "1m", "5m")
HOUR_US = 3600 * SECOND


def a_core(*batches: list[Trade]) -> Core:
    core = Core(TIMEFRAMES, lateness_ms=500)
    for batch in batches:
        read(core, batch)
    return core


def read(core: Core, batch: list[Trade]) -> None:
    step(core, batch, max(trade.event_us for trade in batch) // 1000)


def marked(core: Core, back_us: int = 120 * SECOND) -> list[tuple[str, int, int]]:
    return sorted((mark.symbol, mark.first_us, mark.last_us) for mark in core.doubt("test", back_us, START_US))


def test_a_doubt_marks_the_days_that_were_read_and_no_day_between() -> None:
    today, old_us = each_second("A", ["1"] * 9, first_id=100), START_US - 40 * US_PER_DAY
    old = [Trade("A", n, old_us + n * SECOND, "1", "1") for n in (1, 2)]
    core = a_core([*today, *old], each_second("B", ["1"]))
    days = [span for span in marked(core) if span[1] < START_US - HOUR_US]
    assert days == [("A", old_us + SECOND, old_us + 2 * SECOND)]


def test_what_the_writers_have_passed_is_marked_no_more() -> None:
    first, second = each_second("A", ["1"] * 9), each_second("A", ["1"] * 9, first_id=10, start_us=START_US + HOUR_US)
    core = a_core(first)
    core.note_stored()
    read(core, second)
    assert core.symbols.unstored.first_us(1)[0] == first[0].event_us, "the position was noted after the first was read"
    core.note_stored()
    assert core.symbols.unstored.first_us(1)[0] == second[0].event_us
    core.note_stored()
    assert core.symbols.unstored.first_us(1)[0] == NEVER_US


def test_a_doubt_marks_each_trade_that_may_not_be_stored_once() -> None:
    core = a_core(each_second("A", ["1"]), each_second("A", ["1"], 2, START_US + HOUR_US))
    assert START_US + 100_000 in [first_us for _, first_us, _ in marked(core)]
    read(core, each_second("A", ["1"], 3, START_US + 2 * HOUR_US))
    assert min(first_us for _, first_us, _ in marked(core)) > START_US + HOUR_US
    assert core.symbols.unstored.doubted.first_by_day() == {(0, START_US // US_PER_DAY): START_US + 100_000}
    core.trust()
    assert core.symbols.unstored.doubted.first_by_day() == {}


def test_it_is_in_the_checkpoint() -> None:
    core = a_core(each_second("A", ["1"]))
    core.doubt("test", 0, 0)
    read(core, each_second("B", ["1"]))
    core.note_stored()
    read(core, each_second("A", ["1"], 2, START_US + HOUR_US))
    again = Core(TIMEFRAMES, lateness_ms=500)
    checkpoint.restore(again, orjson.loads(orjson.dumps(checkpoint.to_json(core))))
    at_us = START_US + 100_000
    assert again.symbols.unstored.to_json() == [[[0, at_us + HOUR_US, at_us + HOUR_US]], [[1, at_us, at_us]], [[0, at_us, at_us]]]


def test_it_goes_with_its_symbol_to_another_shard() -> None:
    old, new = a_core(each_second("A", ["1"]), each_second("B", ["1"] * 3)), a_core(each_second("C", ["1"]))
    new.symbols.take_over(old.symbols, old.symbols.codes["B"])
    at_us = START_US + 100_000
    assert new.symbols.unstored.to_json() == [[[0, at_us, at_us], [1, at_us, at_us + 2 * SECOND]], [], []]
