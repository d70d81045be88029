"""A backtest trades what was known, at prices that came after; the sums are right."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.backtest import PairRow, Rules, backtest, summary, thinned


def row(n: int, y: float, x: float, z: float | None, b: float | None = 2.0, carried: bool = False) -> PairRow:
    return PairRow(n * 1_000_000, y, x, b, z, carried)


#: z rises over 2 at row 1, is back at row 3; the spread is sold at row 2 and bought back at row 4.
BY_HAND = [
    row(0, 100, 40, None),
    row(1, 104, 40, 2.5, b=2.0),
    row(2, 105, 40, 2.2, b=9.0),
    row(3, 102, 41, 0.3),
    row(4, 101, 41, 0.0),
    row(5, 101, 41, 0.1),
]


def test_the_example_computed_by_hand():
    """1850 of notional at (105, 40) with b = 2 of row 1: 185 is one unit of y and two of x, so ten of y and twenty of x."""
    outcome = backtest(BY_HAND, Rules(entry=2, exit=0.5, cost_bps=10, notional=1850))
    (trade,) = outcome.trades
    assert (trade.side, trade.reason, trade.bars, trade.hedge_ratio) == (-1, "exit", 2, 2.0)
    assert (trade.signal_us, trade.entry_us, trade.exit_us) == (1_000_000, 2_000_000, 4_000_000)
    assert (trade.y_units, trade.x_units) == (-10, 20)
    assert trade.costs == pytest.approx((1850 + 10 * 101 + 20 * 41) / 1000)
    assert trade.profit == pytest.approx(10 * (105 - 101) + 20 * (41 - 40) - 3.68)
    at_entry = -1.85
    assert outcome.profits == pytest.approx([0, 0, at_entry, at_entry + 30 + 20, 56.32, 56.32])
    found = summary(outcome, Rules(cost_bps=10, notional=1850), 1)
    assert (found.trade_count, found.hit_rate, found.exposure, found.rows) == (1, 1.0, 2 / 6, 6)
    assert found.total_return == pytest.approx(56.32 / 1850)
    assert found.max_drawdown == pytest.approx(-1.85 / 1850)
    changes = [0, 0, -1.85 / 1850, 50 / 1850, 8.17 / 1850, 0]
    mean = sum(changes) / 6
    deviation = math.sqrt(sum((change - mean) ** 2 for change in changes) / 5)
    assert found.sharpe == pytest.approx(mean / deviation * math.sqrt(365 * 86_400))


def test_a_log_hedge_ratio_is_one_of_values():
    (trade,) = backtest(BY_HAND, Rules(entry=2, exit=0.5, notional=3000, log=True)).trades
    assert trade.y_units * 105 == pytest.approx(-1000) and trade.x_units * 40 == pytest.approx(2000)


def test_a_stop_waits_until_z_was_back_inside():
    scores = [2.5, 3.0, 5.0, 3.0, 2.5, 1.5, 2.5, 2.4, 0.1, 0.1, 0.1]
    rows = [row(n, 100 + n, 50, z) for n, z in enumerate(scores)]
    trades = backtest(rows, Rules(entry=2, exit=0.5, stop=4)).trades
    found = [(trade.entry_us // 10**6, trade.exit_us // 10**6, trade.reason) for trade in trades]
    assert found == [(1, 3, "stop"), (7, 9, "exit")]


def test_a_carried_close_is_nobodys_price():
    rows = [row(0, 100, 50, 3), row(1, 90, 50, 3, carried=True), row(2, 101, 50, 3)]
    rows += [row(3, 101, 50, 0.1), row(4, 1, 50, 0, carried=True), row(5, 99, 50, 0)]
    (trade,) = backtest(rows, Rules()).trades
    assert (trade.entry_us, trade.entry_y, trade.exit_us, trade.exit_y) == (2_000_000, 101, 5_000_000, 99)


def test_what_is_open_at_the_end_is_closed_at_the_end():
    outcome = backtest(BY_HAND[:4], Rules(entry=2, exit=0.1, cost_bps=10, notional=1850))
    (trade,) = outcome.trades
    assert trade.reason == "end" and outcome.profits[-1] == pytest.approx(trade.profit)


def test_nothing_to_trade_says_nothing():
    found = summary(backtest([], Rules()), Rules(), 1)
    assert (found.total_return, found.sharpe, found.hit_rate, found.exposure, found.trade_count) == (0, None, None, None, 0)
    flat = backtest([row(n, 5, 5, None) for n in range(9)], Rules())
    assert summary(flat, Rules(), 1).sharpe is None and not flat.trades
    assert backtest([row(0, 5, 5, 3, b=None), row(1, 5, 5, math.nan), row(2, 5, 5, 0)], Rules()).trades == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"exit": 2}, "exit must be from 0 to below entry (2), was 2"),
        ({"exit": -1}, "exit must be from 0 to below entry (2), was -1"),
        ({"stop": 2}, "stop must be above entry (2), was 2"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules, message):
    with pytest.raises(ValueError, match="must") as caught:
        Rules(**rules)
    assert str(caught.value) == message


prices = st.floats(0.01, 1e5)
scores = st.none() | st.floats(-5, 5)
steps = st.tuples(prices, prices, scores, st.none() | st.floats(-100, 100), st.booleans())
some_rows = st.lists(steps, max_size=40).map(lambda made: [row(n, y, x, z, b, c) for n, (y, x, z, b, c) in enumerate(made)])
some_rules = st.builds(
    Rules, entry=st.floats(1, 3), exit=st.floats(0, 0.9), stop=st.none() | st.floats(3.1, 5), cost_bps=st.floats(0, 50),
    log=st.booleans(),
)  # fmt: skip


@given(some_rows, some_rows, some_rules, st.data())
def test_the_future_never_alters_what_was_traded_before(rows, others, rules, data):
    cut = data.draw(st.integers(0, len(rows)))
    future = [other._replace(start_us=(cut + n) * 1_000_000) for n, other in enumerate(others)]
    ours, theirs = backtest(rows, rules), backtest(rows[:cut] + future, rules)
    known = rows[cut - 1].start_us if cut else -1

    def past(outcome):
        return [trade for trade in outcome.trades if trade.exit_us <= known and trade.reason != "end"]

    assert past(ours) == past(theirs)
    entered = [(trade[:3], trade[5:11]) for trade in ours.trades if trade.entry_us <= known]
    assert entered == [(trade[:3], trade[5:11]) for trade in theirs.trades if trade.entry_us <= known]
    if 0 < cut < len(rows) and future:
        assert ours.profits[:cut] == theirs.profits[:cut]


@given(some_rows, some_rules)
def test_equity_is_the_sum_of_the_trades_and_costs_only_reduce(rows, rules):
    outcome, free = backtest(rows, rules), backtest(rows, replace(rules, cost_bps=0.0))
    largest = max([rules.notional, *map(abs, outcome.profits)])
    assert sum(trade.profit for trade in outcome.trades) == pytest.approx(outcome.profits[-1] if rows else 0, abs=1e-9 * largest)
    assert [trade[:8] for trade in free.trades] == [trade[:8] for trade in outcome.trades], "costs decide nothing"
    for with_costs, without in zip(outcome.profits, free.profits, strict=True):
        assert with_costs <= without + 1e-9 * largest
    for trade in outcome.trades:
        assert trade.signal_us < trade.entry_us <= trade.exit_us and trade.costs >= 0
        gross = abs(trade.y_units) * trade.entry_y + abs(trade.x_units) * trade.entry_x
        assert gross == pytest.approx(rules.notional)
    assert all(one.exit_us <= two.entry_us for one, two in zip(outcome.trades, outcome.trades[1:], strict=False))


@given(some_rows, some_rules)
def test_every_signal_is_a_score_of_its_own_row(rows, rules):
    by_stamp = {each.start_us: each for each in rows}
    for trade in backtest(rows, rules).trades:
        signal = by_stamp[trade.signal_us]
        assert signal.hedge_ratio == trade.hedge_ratio
        assert signal.z_score is not None and -trade.side * signal.z_score >= rules.entry
        assert not by_stamp[trade.entry_us].carried
        assert trade.reason == "end" or not by_stamp[trade.exit_us].carried


@given(st.integers(1, 5000), st.integers(2, 300))
def test_thinned_places_end_with_the_last(count, most):
    places = thinned(count, most)
    assert places == sorted(set(places)) and len(places) <= most
    assert places[0] == 0 and places[-1] == count - 1
