"""Several symbols rebuilt at once: everything is done once, today's bars go first, and a fault ends it."""

import threading
from itertools import count

import pytest

from aggregator.abreast import helping_sessions, rebuild_abreast
from aggregator.marks import Rebuilder
from common.streams import append
from common.trades import Trade
from tests.aggregator.house import SECOND, START_US, House
from tests.processes.feeding import until

SYMBOLS = ("A", "B", "C", "D")


def test_each_symbol_is_done_once_in_its_order_and_two_are_done_at_the_same_time():
    together, done = threading.Barrier(2), []

    def one(session: str, work: tuple[str, int]) -> list:
        if work[1] == 0:
            together.wait(60)
        done.append((session, *work))
        return [work]

    by_symbol = [[(symbol, n) for n in range(3)] for symbol in SYMBOLS]
    everything = [work for works in by_symbol for work in works]
    assert sorted(rebuild_abreast(["first", "helper"], by_symbol, one, lambda _: True)) == everything
    for symbol, works in zip(SYMBOLS, by_symbol, strict=True):
        of_symbol = [entry for entry in done if entry[1] == symbol]
        assert [entry[1:] for entry in of_symbol] == works
        assert len({entry[0] for entry in of_symbol}) == 1


def test_nobody_helps_while_something_waits():
    done = []
    rebuild_abreast([1, 2], [["A"], ["B"]], lambda session, work: done.append((session, work)) or [], lambda _: False)
    assert done == [(1, "A"), (1, "B")]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_fault_of_any_session_is_raised_and_ends_the_others(failing):
    together, taken = threading.Barrier(2), count()

    def one(session: int, work: int) -> list:
        if next(taken) < 2:
            together.wait(60)
        if session == failing:
            raise RuntimeError("no")
        return []

    with pytest.raises(RuntimeError, match="no"):
        rebuild_abreast([1, 2], [[n] for n in range(50)], one, lambda _: True)


def test_a_server_without_a_session_more_is_worked_on_with_those_there_are(settings):
    with helping_sessions(settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/none"}), 2) as sessions:
        assert sessions == []


@pytest.fixture
def house(settings, redis_client, database):
    """Four symbols, no pairs."""
    update = {"symbols": SYMBOLS, "pairs": (), "stats": "off", "timeframes": ("1s", "1m", "5m")}
    made = House(settings.model_copy(update=update), redis_client, database)
    yield made
    made.close()


def imported(symbol: str, n: int) -> Trade:
    """Amounts of many digits, some sides unknown, in the bars of the trades that were there."""
    stamp_us = START_US + n * 7 * SECOND + n % 3
    return Trade(symbol, 1000 + n, stamp_us, f"{n * 13 % 101 + 1}.{n:07d}", f"0.{n + 1:09d}", ["b", "s", ""][n % 3])


@pytest.mark.parametrize("live_waits", [False, True])
def test_a_large_rebuild_gives_the_bars_of_the_ticks_whether_or_not_live_trades_wait(house, live_waits):
    for symbol in SYMBOLS:
        house.take([Trade(symbol, n + 1, START_US + n * 7 * SECOND, f"{n + 1}.{n:02d}", "0.5", "b") for n in range(200)])
    house.quiet(600)
    for symbol in SYMBOLS:
        house.write([imported(symbol, n) for n in range(190)])
        house.rows(
            "INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason)"
            " VALUES (%s, %s, %s, 'trades', 0, 0, 'test')",
            symbol, START_US, START_US + 190 * 7 * SECOND,
        )  # fmt: skip
    if live_waits:
        append(house.client, "trades", "binance.trade", "A,5000,2026-01-15T13:00:00.000000Z,1,1,b,\n", 1)
    assert len(house.differences()) == 20
    rebuilder = Rebuilder(house.settings, house.client, house.database, house.leaves)
    settled = []
    until(lambda: settled.extend(rebuilder.turn()) or not house.rows("SELECT 1 FROM dirty_ranges"), "rebuild")
    assert {bar.symbol for bar in settled} == set(SYMBOLS)
    assert house.differences() == []
    assert house.rows("SELECT count(*) FROM rebuilt_bars") == [(len(settled),)]
