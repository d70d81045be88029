"""Laws of the core: whatever the order, the batching or the repetition, closed and marked bars together are the ticks' bars."""

from collections import defaultdict
from fractions import Fraction

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.core import Core, Outcome
from aggregator.intervals import Hole
from aggregator.symbols import Symbols
from common.columns import to_columns
from common.timeframes import timeframe_us
from common.trades import Trade

TIMEFRAMES = ("1s", "1m", "5m")
START_US = 1_700_000_100_000_000


def bars_by_hand(trades: list[Trade], timeframe: str) -> dict[tuple[str, int], tuple]:
    """What SQL over the ticks would say: first copy of each identity, open and close by (stamp, seq, id)."""
    first = {}
    for trade in trades:
        first.setdefault((trade.symbol, trade.event_us // 86_400_000_000, trade.trade_id), trade)
    groups = defaultdict(list)
    length = timeframe_us(timeframe)
    for trade in first.values():
        groups[trade.symbol, trade.event_us - trade.event_us % length].append(trade)
    bars = {}
    for key, group in groups.items():
        group.sort(key=lambda trade: (trade.event_us, trade.seq or 0, trade.trade_id))
        prices = [Fraction(trade.price) for trade in group]
        sizes = [Fraction(trade.size) for trade in group]
        quote = sum(price * size for price, size in zip(prices, sizes, strict=True))
        bought = sum((size for size, trade in zip(sizes, group, strict=True) if trade.side == "b"), Fraction(0))
        spent = [price * size for price, size, trade in zip(prices, sizes, group, strict=True) if trade.side == "b"]
        sums = (sum(sizes), bought, quote, sum(spent, Fraction(0)))
        bars[key] = (prices[0], max(prices), min(prices), prices[-1], *sums, len(group), group[0].trade_id)
    return bars


def bars_of(core: Core, timeframe: str, bars) -> dict[tuple[str, int], tuple]:
    found = {}
    for row in range(len(bars)):
        code = int(bars.symbol[row])
        price, size = 10 ** int(core.symbols.price_scale[code]), 10 ** int(core.symbols.size_scale[code])
        ohlc = [Fraction(int(column[row]), price) for column in (bars.open, bars.high, bars.low, bars.close)]
        sums = [Fraction(int(column[row]), size) for column in (bars.volume, bars.taker_buy)]
        quotes = [Fraction(int(column[row]), price * size) for column in (bars.quote, bars.taker_quote)]
        key = (core.symbols.names[code], int(bars.start_us[row]))
        found[key] = (*ohlc, *sums, *quotes, int(bars.count[row]), int(bars.first_id[row]))
    return found


class Run:
    """Feeds a core and remembers what it closed, with the scales it had at that moment."""

    def __init__(self) -> None:
        self.core = Core(TIMEFRAMES, lateness_ms=500)
        self.closed = {timeframe: {} for timeframe in TIMEFRAMES}
        self.marks = []
        self.now_ms = START_US // 1000
        self.held = Outcome()

    def feed(self, trades: list[Trade], step_ms: int = 1, hold: bool = False) -> Outcome:
        self.now_ms += step_ms
        columns = to_columns(trades, [0] * len(trades))
        self.core.on_trades(columns, np.full(len(trades), self.now_ms), self.now_ms, outcome=self.held)
        return self.held if hold else self._note()

    def wait(self, ms: int) -> Outcome:
        self.now_ms += ms
        self.core.on_time(self.now_ms, self.held)
        return self._note()

    def _note(self) -> Outcome:
        outcome, self.held = self.held, Outcome()
        for timeframe, closed in outcome.closed.items():
            for key, bar in bars_of(self.core, timeframe, closed.bars).items():
                assert key not in self.closed[timeframe], "a bar closed twice"
                self.closed[timeframe][key] = bar
        self.marks += outcome.marks
        return outcome

    def marked(self, symbol: str, start_us: int, length: int) -> bool:
        return any(m.symbol == symbol and m.first_us < start_us + length and m.last_us >= start_us for m in self.marks)


@st.composite
def trades_of_two_symbols(draw):
    made = []
    for symbol in ("BTCUSDT", "SHIBUSDT"):
        stamp = START_US
        for trade_id in range(1, draw(st.integers(1, 40))):
            stamp += draw(st.sampled_from([0, 1, 1000, 300_000, 999_999, 2_000_000, 70_000_000]))
            price = draw(st.sampled_from(["1", "43000.12", "0.00000851", "100000", "7.5"]))
            size = draw(st.sampled_from(["0.001", "1000000000000", "3", "0.12345678", "123456789012.12345678"]))
            made.append(Trade(symbol, trade_id, stamp, price, size, draw(st.sampled_from("bs"))))
    return made


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_batching_and_repetition_gives_the_bars_of_the_ticks(data):
    trades = data.draw(trades_of_two_symbols())
    feed = data.draw(st.permutations(trades)) if data.draw(st.booleans()) else list(trades)
    feed += data.draw(st.lists(st.sampled_from(feed), max_size=5)) if feed else []
    run = Run()
    while feed:
        cut = data.draw(st.integers(1, len(feed)))
        run.feed(feed[:cut], data.draw(st.sampled_from([1, 400, 5000])), hold=data.draw(st.booleans()))
        feed = feed[cut:]
    run.wait(600_000)
    for timeframe in TIMEFRAMES:
        expected = bars_by_hand(trades, timeframe)
        for key, bar in expected.items():
            if not run.marked(*key, timeframe_us(timeframe)):
                assert run.closed[timeframe][key] == bar
        assert set(run.closed[timeframe]) <= set(expected)


def test_bars_that_wait_for_their_commit_follow_a_finer_scale():
    run = Run()
    run.feed([Trade("A", 1, START_US, "7", "3")])
    held = run.feed([Trade("A", 2, START_US + 2_000_000, "8", "3")], hold=True)
    assert held.closed_bars == 1
    run.feed([Trade("A", 3, START_US + 4_000_000, "8.125", "0.5"), Trade("B", 1, START_US + 4_000_000, "1", "1")])
    closes = {key: bar[3] for key, bar in run.closed["1s"].items()}
    assert closes == {("A", START_US): 7, ("A", START_US + 2_000_000): 8}


def test_bars_that_wait_for_their_commit_are_each_symbols_in_time_and_keep_their_status():
    """What follows them (statistics, pairs) takes the rows of a symbol as they stand: together, and oldest first."""
    run = Run()
    run.core = Core(("1s",), lateness_ms=0)
    second, hole = 1_000_000, 3
    statuses: dict[tuple[str, int], str] = {}
    for number in range(8):
        ids = number + 1 + (number >= hole)
        stamps = {"B": START_US + number * second, "A": START_US + number * second + 500_000}
        held = run.feed([Trade(name, ids, us, "1", "1") for name, us in stamps.items()], hold=True)
    closed = held.closed["1s"]
    rows = list(zip(closed.bars.symbol.tolist(), closed.bars.start_us.tolist(), strict=True))
    assert rows == sorted(rows) and len(rows) == 14 == len(closed.status)
    for (code, start_us), status in zip(rows, closed.status, strict=True):
        statuses.setdefault((run.core.symbols.names[code], (start_us - START_US) // second), status)
    expected = {0: "partial", hole - 1: "gap", hole: "gap"}
    assert statuses == {(name, number): expected.get(number, "complete") for name in "AB" for number in range(7)}


def test_a_bar_closes_when_the_watermark_passes_its_end_and_not_before():
    #  00.0 ─trade──────── 01.0 ──────── 01.4 trade ── 01.5 trade
    #  [        bar 0      )              not yet       closed: 01.5 - 0.5 = 01.0
    run = Run()
    assert not run.feed([Trade("A", 1, START_US, "1", "1")]).closed
    assert not run.feed([Trade("A", 2, START_US + 1_499_999, "1", "1")]).closed
    assert set(run.feed([Trade("A", 3, START_US + 1_500_000, "1", "1")]).closed) == {"1s"}


def test_a_quiet_symbol_closes_by_the_streams_own_time():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1")])
    assert not run.wait(1_400).closed
    assert list(run.wait(200).closed) == ["1s"]


def test_a_replay_of_old_trades_closes_nothing_early():
    run = Run()
    for second in range(120):
        run.feed([Trade("A", second + 1, START_US - 10**15 + second * 1_000_000, "1", "1")])
    assert len(run.closed["1s"]) == 118
    assert not run.marks


def test_a_trade_late_by_two_minutes_marks_the_closed_bars_and_enters_the_open_one():
    run = Run()
    run.feed([Trade("A", 1, START_US, "5", "1"), Trade("A", 3, START_US + 150_000_000, "5", "1")])
    late = Trade("A", 2, START_US + 30_000_000, "9", "1")
    outcome = run.feed([late])
    assert outcome.late == 1
    assert any(mark.first_us <= late.event_us <= mark.last_us for mark in outcome.marks)
    run.wait(600_000)
    five = START_US - START_US % 300_000_000
    assert run.closed["5m"]["A", five][1] == 9


def test_a_repeated_trade_counts_once_in_an_open_bar():
    run = Run()
    trade = Trade("A", 7, START_US, "5", "2")
    run.feed([trade, trade])
    assert run.feed([trade._replace(event_us=START_US + 123)]).repeated == 1
    run.wait(600_000)
    assert run.closed["5m"]["A", START_US - START_US % 300_000_000][8] == 1


def test_a_hole_in_the_ids_makes_the_bars_around_it_say_gap():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1"), Trade("A", 2, START_US + 1_100_000, "1", "1")])
    outcome = run.feed([Trade("A", 5, START_US + 3_200_000, "1", "1")])
    assert [(hole.first_id, hole.last_id) for _, hole in outcome.holes] == [(3, 4)]
    closed = run.wait(600_000).closed
    assert closed["1s"].status == ["gap"]
    assert {mark.first_us for mark in outcome.marks} == {START_US + 1_100_000, START_US + 3_200_000}


def test_a_filled_hole_is_no_gap():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1"), Trade("A", 3, START_US + 10, "1", "1"), Trade("A", 2, START_US + 5, "1", "1")])
    assert run.wait(600_000).closed["5m"].status == ["partial"]


def test_old_ids_of_an_import_open_no_hole_in_the_live_ids():
    run = Run()
    for n in range(20):
        run.feed([Trade("A", 1000 + n, START_US + n * 100_000_000, "1", "1")])
    outcome = run.feed([Trade("A", 5, START_US - 10**15, "1", "1")])
    assert outcome.late == 1 and not outcome.holes
    assert all(status != "gap" for closed in run.wait(600_000).closed.values() for status in closed.status)


def test_volumes_beyond_63_bits_stay_exact():
    run = Run()
    run.feed([Trade("SHIB", n, START_US, "0.00000851", "123456789012.12345678") for n in range(1, 1001)])
    run.wait(600_000)
    bar = run.closed["1s"]["SHIB", START_US]
    assert bar[4] == Fraction("123456789012.12345678") * 1000
    assert bar[6] == Fraction("0.00000851") * bar[4]


def test_bars_of_a_doubted_time_are_marked_instead_of_closed():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1")])
    run.core.doubt("test", 0, 0)
    run.feed([Trade("A", 2, START_US + 100, "1", "1")])
    run.core.trust()
    run.feed([Trade("A", 3, START_US + 5_000_000, "1", "1")])
    run.wait(1_600)
    assert list(run.closed["1s"]) == [("A", START_US + 5_000_000)]
    assert run.marked("A", START_US, 1_000_000)


def test_the_first_bars_of_a_symbol_that_is_new_after_a_doubt_are_not_proved():
    """It may have been traded in what was missed; the bar that begins after its first trade is proved again."""
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1")])
    run.core.doubt("test", 0, 0)
    run.core.trust()
    run.feed([Trade("B", 7, START_US + 10_100_000, "1", "1"), Trade("B", 8, START_US + 11_000_000, "1", "1")])
    run.wait(2_000)
    assert [key for key in run.closed["1s"] if key[0] == "B"] == [("B", START_US + 11_000_000)]
    assert run.marked("B", START_US + 10_000_000, 1_000_000)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_comes_again_in_a_doubt_or_after_it_is_marked_anew(data):
    """Perhaps nobody stored it the first time, and the marks of then are rebuilt already: each bar of it is marked once more."""
    trades = data.draw(trades_of_two_symbols().filter(bool))
    run = Run()
    run.feed(trades)
    run.wait(data.draw(st.sampled_from([0, 1_000, 400_000])))
    run.core.doubt("test", 0, 0)
    in_doubt = data.draw(st.booleans())
    if not in_doubt:
        run.core.trust()
    again = data.draw(st.lists(st.sampled_from(trades), min_size=1, unique=True))
    run.marks.clear()
    run.feed(again)
    if in_doubt:
        assert all(any(m.symbol == t.symbol and m.first_us <= t.event_us <= m.last_us for m in run.marks) for t in again)
        run.core.trust()
    run.wait(400_000)
    for timeframe, length in run.core.lengths.items():
        for trade in again:
            assert run.marked(trade.symbol, trade.event_us - trade.event_us % length, length), (timeframe, trade)


def test_what_comes_again_in_a_doubt_is_marked_day_by_day():
    run, midnight_us = Run(), START_US - START_US % 86_400_000_000 + 86_400_000_000
    trades = [Trade(name, n, midnight_us + n - 3, "1", "1") for name in "AB" for n in range(1, 6)]
    run.feed(trades)
    run.core.doubt("test", 0, 0)
    marks = [mark[:3] for mark in run.feed(trades).marks]
    days = [(midnight_us - 2, midnight_us - 1), (midnight_us, midnight_us + 2)]
    assert marks == [(name, *day) for name in "AB" for day in days]


def test_a_doubt_forgets_what_was_seen_but_not_where_the_next_hole_begins():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1"), Trade("A", 2, START_US + 1, "1", "1")])
    run.core.doubt("test", 0, 0)
    run.core.trust()
    run.core.symbols = Symbols.from_json(orjson.loads(orjson.dumps(run.core.symbols.to_json())))
    outcome = run.feed([Trade("A", 5, START_US + 700_000, "1", "1"), Trade("A", 6, START_US + 1_200_000, "1", "1")])
    assert outcome.holes == [("A", Hole(3, 4, START_US + 1, START_US + 700_000))]
    assert run.core.symbols.holes(0) == [Hole(3, 4, START_US + 1, START_US + 700_000)]
    assert run.feed([Trade("A", 2, START_US + 1, "1", "1")]).trades == 1, "it is new again"
    assert run.feed([Trade("A", 2, START_US + 1, "1", "1")]).repeated == 1
    assert run.feed([Trade("A", n, START_US + 2, "1", "1") for n in (3, 4)]).holes == []
    assert run.core.symbols.holes(0) == []


def test_a_trade_of_a_bar_that_ends_at_the_watermark_is_late():
    run = Run()
    run.feed([Trade("A", 1, START_US, "1", "1")])
    run.feed([Trade("A", 3, START_US + 1_500_000, "1", "1")])
    assert run.core.watermarks() == {"A": START_US + 1_000_000} and ("A", START_US) in run.closed["1s"]
    outcome = run.feed([Trade("A", 2, START_US + 999_999, "9", "1")])
    assert outcome.late == 1 and not outcome.closed
    assert [mark[1:] for mark in outcome.marks] == [(START_US + 999_999, START_US + 999_999, "late")]


@pytest.mark.parametrize("timeframes", [("1s",), ("3m", "5m"), ("1d",)])
def test_any_set_of_timeframes_works(timeframes):
    core = Core(timeframes, 0)
    trades = [Trade("A", n, START_US + n * 1_000_000, "1", "1") for n in range(10)]
    core.on_trades(to_columns(trades, [0] * 10), np.full(10, START_US // 1000), START_US // 1000)
    core.on_time(START_US // 1000 + 2 * 86_400_000)
    assert not len(core.all_open())
