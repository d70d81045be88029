"""Redis forgets what the aggregator has read and no writer has stored: it may never come, or come again at any time."""

import random

import pytest

from common.trades import US_PER_DAY, Trade
from tests.aggregator.house import SECOND, START_US, House, each_second

OPEN_GAPS = "SELECT first_id, last_id FROM gaps WHERE state = 'open' ORDER BY first_id"
#: By kind of ids: the source, and the id of the n-th trade.
IDS = {"venue": ("binance.trade", lambda n: n), "client": ("api.trade", lambda n: 3 * n), "content": ("api", lambda n: -n)}


def missing(house: House) -> list[tuple[str, int]]:
    """Every id that a gap names, as often as one does."""
    gaps = house.rows("SELECT symbol, first_id, last_id FROM gaps WHERE state = 'open' ORDER BY symbol, first_id")
    return [(symbol, number) for symbol, first_id, last_id in gaps for number in range(first_id, last_id + 1)]


def forty(kind: str = "venue") -> list[Trade]:
    made = each_second("A", [str(100 + n) for n in range(40)])
    return [trade._replace(trade_id=IDS[kind][1](trade.trade_id)) for trade in made]


@pytest.mark.parametrize("lost", [slice(10, 13), slice(20, 23), slice(37, 40)], ids=["first since a doubt", "between", "last"])
def test_ids_that_nobody_stored_are_a_gap_wherever_they_lie(house: House, lost: slice) -> None:
    trades = forty()
    house.take(trades[:10])
    house.doubt()
    house.trust()
    for at in range(10, 40):
        (house.see if at in range(lost.start, lost.stop) else house.take)([trades[at]])
    house.doubt()
    house.trust()
    assert house.rows(OPEN_GAPS) == [(lost.start + 1, lost.stop)]


def test_an_id_of_a_slow_symbol_is_a_gap_though_a_later_one_is_stored(house: House) -> None:
    trades = [Trade("A", n, START_US + n * 600 * SECOND, "1", "1", "b") for n in range(1, 12)]
    house.take(trades[:9])
    house.core.note_stored()
    house.see(trades[9:10])
    house.take(trades[10:])
    house.doubt(120 * SECOND)
    house.trust()
    assert house.rows(OPEN_GAPS) == [(10, 10)]


def test_ids_of_an_import_are_a_gap(house: House) -> None:
    """Stamped long before what was last stored."""
    trades = each_second("A", ["1"] * 20, start_us=START_US - 3 * US_PER_DAY)
    house.take(each_second("A", ["1"], first_id=21))
    house.take(trades[:10])
    house.see(trades[10:15])
    house.take(trades[15:])
    house.doubt(120 * SECOND)
    house.trust()
    assert house.rows(OPEN_GAPS) == [(11, 15)]


def test_ids_that_a_day_began_with_are_a_gap(house: House) -> None:
    """The intervals of a day are its own."""
    midnight_us = START_US - START_US % US_PER_DAY + US_PER_DAY
    trades = each_second("A", ["1"] * 20, start_us=midnight_us - 10 * SECOND)
    house.take(trades[:10])
    house.see(trades[10:12])
    house.take(trades[12:])
    house.doubt()
    house.trust()
    assert house.rows(OPEN_GAPS) == [(11, 12)]


@pytest.mark.parametrize("doubts_first", [True, False])
def test_ids_that_a_day_ended_with_are_a_gap(house: House, doubts_first: bool) -> None:
    """By the end of the doubt, or even before it, their bars are closed in every timeframe."""
    midnight_us = START_US - START_US % US_PER_DAY + US_PER_DAY
    trades = each_second("A", ["1"] * 14, start_us=midnight_us - 10 * SECOND)
    house.take(trades[:8])
    house.see(trades[8:10])
    if doubts_first:
        house.doubt()
    house.take(trades[10:])
    house.quiet(700)
    house.doubt()
    house.trust()
    assert house.rows(OPEN_GAPS) == [(9, 10)]


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("every_s", [1, 600], ids=["ten minutes", "four days"])
def test_bars_of_what_writers_far_behind_had_not_stored_are_none(house: House, kind: str, every_s: int) -> None:
    """They had closed long before the doubt, which looks back two minutes without regard to what was read and not stored."""
    src, made = IDS[kind][0], [Trade("A", IDS[kind][1](n), START_US + n * every_s * SECOND, "1", "1", "b") for n in range(1, 601)]
    house.take(made[:5], src)
    for at in range(5, 590, 65):
        house.see(made[at : at + 65], src)
    house.doubt(120 * SECOND)
    house.trust()
    house.take(made[590:], src)
    house.quiet(700)
    house.rebuild_marks()
    assert house.differences() == []
    assert missing(house) == ([("A", number) for number in range(6, 591)] if kind == "venue" else [])


@pytest.mark.parametrize("again", [slice(10, 16), slice(8, 13), slice(8, 18), slice(11, 12)], ids=str)
def test_an_id_that_is_lost_twice_is_in_one_gap(house: House, again: slice) -> None:
    trades = forty()
    house.take(trades[:8])
    for lost in (slice(10, 13), again):
        house.see(trades[lost])
        house.doubt()
        house.trust()
    named = missing(house)
    house.take(trades[18:])
    house.quiet(400)
    house.rebuild_marks()
    assert len(set(named)) == len(named) and set(named) >= {("A", 1 + at) for at in [10, 11, 12, *range(again.start, again.stop)]}
    assert missing(house) == [("A", number) for number in range(9, 19)] and house.differences() == []


@pytest.mark.parametrize("closed_s", [0, 2, 70, 400])
@pytest.mark.parametrize("in_doubt", [True, False])
@pytest.mark.parametrize("kind", IDS)
def test_what_comes_again_is_in_its_bars(house: House, kind: str, in_doubt: bool, closed_s: int) -> None:
    src, trades = IDS[kind][0], forty(kind)
    house.take(trades[:10], src)
    house.see(trades[10:13], src)
    house.doubt()
    if not in_doubt:
        house.trust()
    house.take(trades[13:30], src)
    house.quiet(closed_s)
    house.rebuild_marks()
    house.take(trades[10:13], src)
    if in_doubt:
        house.trust()
    house.take(trades[30:], src)
    house.quiet(2)
    house.rebuild_marks()
    assert house.differences() == []
    house.quiet(400)
    house.rebuild_marks()
    house.rebuild_marks()  # a gap that was filled asks for its bars
    assert house.differences() == [] and house.rows(OPEN_GAPS) == []
    assert house.rows("SELECT tick_count, status FROM processed_bars WHERE timeframe = '5m'") == [(40, "complete")]


def two_days(kind: str) -> list[Trade]:
    """Twenty trades of each of two symbols, around midnight."""
    first_us = START_US - START_US % US_PER_DAY + US_PER_DAY - 1300 * SECOND
    number = IDS[kind][1]
    return [Trade(s, number(n), first_us + n * 130 * SECOND, str(100 + n), "1", "b") for n in range(1, 21) for s in "AB"]


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("seed", range(4))
def test_bars_are_those_of_the_ticks_whatever_is_lost_and_comes_again(house: House, kind: str, seed: int) -> None:
    chance, src, waiting = random.Random(seed), IDS[kind][0], two_days(kind)
    steps, late, unstored = list[str](), list[Trade](), list[Trade]()
    while waiting:
        steps.append(chance.choice(["take", "take", "lose", "late", "again", "quiet", "doubt", "trust", "rebuild", "restart"]))
        some = waiting[: chance.randint(1, 8)]
        if steps[-1] in ("take", "lose", "late"):
            waiting = waiting[len(some) :]
        if steps[-1] == "take":
            back = [late.pop(chance.randrange(len(late))) for _ in late[:2]]
            house.take(some + back, src)
        elif steps[-1] == "lose":
            house.see([*some, *unstored[-2:]], src)
            unstored += some
        elif steps[-1] == "late":
            late += some
        elif steps[-1] == "again" and unstored:
            house.take([unstored.pop(chance.randrange(len(unstored)))], src)
        else:
            do_step(house, steps[-1], chance.choice([0.5, 3, 70, 400]))
    house.doubt(0)
    house.trust()
    came = late + [trade for trade in unstored if trade.trade_id % 2]
    if came:
        house.take(came, src)
    for _ in range(2):
        house.quiet(400)
        house.rebuild_marks()
    assert house.differences() == [], steps
    never_came = sorted((trade.symbol, trade.trade_id) for trade in unstored if trade.trade_id % 2 == 0)
    assert missing(house) == (never_came if kind == "venue" else []), steps


def do_step(house: House, step: str, quiet_s: float) -> None:
    if step == "quiet":
        house.quiet(quiet_s)
    elif step == "doubt":
        house.doubt(0)
    elif step == "trust" and house.core.doubting:
        house.trust()
    elif step == "rebuild":
        house.rebuild_marks()
    elif step == "restart":
        house.start()
