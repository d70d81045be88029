"""Alert rules, legs of a pair and price statistics: pure, each against its own sentence."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.alerts import KINDS, Rule, evaluate, rule_of
from aggregator.alertstage import relative_facts
from aggregator.legs import LegBar, Legs
from aggregator.pricestats import price_statistics

SECOND = 1_000_000


def rule(kind: str = "zscore_high", threshold: float = 2.0, **more) -> Rule:
    given = {"firing": False, "once": False, "cooldown_us": 0, "triggered_us": None, "expires_us": None, **more}
    return Rule(1, kind, "A_B", "1s", threshold, **given)


values = st.lists(st.none() | st.sampled_from([-3.0, 0.0, 2.0, 2.5, 9.0]), max_size=30)


def run(one: Rule, series) -> list[tuple[int, str]]:
    found = [evaluate(one, bar_us, {one.value_name: value}) for bar_us, value in enumerate(series)]
    return [(each.bar_us, each.name) for each in found if each]


@given(values)
def test_one_event_a_crossing_and_a_missing_value_is_none(series):
    known = [(at, value > 2.0) for at, value in enumerate(series) if value is not None]
    states = [False, *[holds for _, holds in known]]
    expected = [
        (at, "triggered" if holds else "cleared")
        for (at, holds), before in zip(known, states, strict=False)
        if holds != before
    ]  # fmt: skip
    assert run(rule(), series) == expected


@given(values)
def test_once_triggers_once_and_is_never_cleared(series):
    expected = [(at, "triggered") for at, value in enumerate(series) if value is not None and value > 2.0][:1]
    assert run(rule(once=True), series) == expected


@given(values, st.integers(1, 10))
def test_within_the_cooldown_of_a_trigger_there_is_no_other(series, cooldown_us):
    events = run(rule(cooldown_us=cooldown_us), series)
    triggers = [at for at, name in events if name == "triggered"]
    assert all(later - earlier >= cooldown_us for earlier, later in pairwise(triggers))
    names = [name for _, name in events]
    assert names == (["triggered", "cleared"] * len(names))[: len(names)]


@given(values, st.integers(0, 30))
def test_nothing_comes_after_expiry(series, expires_us):
    events = run(rule(expires_us=expires_us), series)
    assert [at for at, name in events if name == "expired"][:1] == [expires_us][: len(series) > expires_us]
    assert all(name == "expired" for at, name in events if at >= expires_us)


def test_a_rule_goes_on_from_its_stored_state():
    one = rule(firing=True, triggered_us=5)
    assert evaluate(one, 6, {"z_score": 3.0}) is None
    cleared = evaluate(one, 7, {"z_score": 1.0})
    assert cleared and (cleared.name, cleared.status, one.triggered_us) == ("cleared", "active", 5)


@pytest.mark.parametrize(
    ("kind", "holds", "does_not"),
    [
        ("zscore_high", 2.1, 2.0), ("zscore_low", -2.1, -2.0), ("zscore_abs", -2.1, 2.0), ("spread_above", 2.1, 2.0),
        ("spread_below", 1.9, 2.0), ("correlation_break", 1.9, 2.0), ("price_above", 2.1, 2.0), ("price_below", 1.9, 2.0),
        ("price_movement", -2.1, 2.0), ("volume_spike", 2.1, 2.0),
    ],
)  # fmt: skip
def test_each_kind_holds_beyond_its_threshold_only(kind, holds, does_not):
    one = rule(kind)
    assert evaluate(one, 1, {KINDS[kind].value: does_not}) is None
    assert evaluate(one, 2, {KINDS[kind].value: holds}).name == "triggered"


def test_a_rule_without_a_threshold_or_of_an_unknown_kind_is_left_alone():
    row = (1, "zscore_high", "A_B", "1s", {"threshold": 2, "cooldown_s": 1.5, "once": True}, False, None, 7)
    made = rule_of(row)
    assert made == rule(threshold=2.0, once=True, cooldown_us=1_500_000, expires_us=7)
    assert rule_of((1, "zscore_high", "A_B", "1s", {}, False, None, None)) is None
    assert rule_of((1, "moon", "A_B", "1s", {"threshold": 2}, False, None, None)) is None


def test_a_look_back_is_none_until_it_is_full():
    assert relative_facts(11.0, 6.0, [(10, 2)] * 19) == {"move_pct": pytest.approx(10.0), "volume_ratio": None}
    assert relative_facts(11.0, 6.0, [(10, 2)] * 20)["volume_ratio"] == 3.0
    assert relative_facts(11.0, 6.0, []) == {"move_pct": None, "volume_ratio": None}


#  Legs ---------------------------------------------------------------------------------------------------------------


def legs_of(y: list[int], x: list[int], closed_s: int, stale_s: int = 5, begun: bool = False) -> list[tuple[int, str, int, int]]:
    """(second, carried, y's bar, x's bar) of each row; bars are of one second."""
    legs = Legs(SECOND, stale_s * SECOND, begun)
    for leg, seconds in ((legs.y, y), (legs.x, x)):
        for second in seconds:
            leg.add(LegBar(second * SECOND, "1", 1.0, False))
        leg.closed_us = closed_s * SECOND
    rows = [(r.start_us, r.carried, r.y.start_us, r.x.start_us) for r in legs.rows()]
    return [(at // SECOND, carried, one // SECOND, two // SECOND) for at, carried, one, two in rows]


def test_rows_begin_at_the_first_time_both_legs_have_a_bar():
    #  y: 1 2   4        x:   2 3 ..  7
    assert legs_of([1, 2, 4], [0, 2, 3, 7], 10) == [(2, "", 2, 2), (3, "y", 2, 3), (4, "x", 4, 3), (7, "y", 4, 7)]
    assert legs_of([1, 3], [2], 10) == []
    assert [row[0] for row in legs_of([1, 3], [2], 10, begun=True)] == [2, 3]


def test_a_close_is_carried_up_to_the_limit_and_no_further():
    rows = legs_of([1], list(range(1, 12)), 20, stale_s=5)
    assert rows == [(1, "", 1, 1), *[(second, "y", 1, second) for second in range(2, 7)]]


def test_a_row_waits_until_both_legs_are_closed_past_its_end():
    legs = Legs(SECOND, 5 * SECOND)
    for leg in (legs.y, legs.x):
        leg.add(LegBar(SECOND, "1", 1.0, False))
    legs.y.closed_us, legs.x.closed_us = 9 * SECOND, 2 * SECOND - 1
    assert legs.rows() == []
    legs.x.closed_us = 2 * SECOND
    assert len(legs.rows()) == 1 and legs.rows() == []


def test_a_bar_from_the_past_is_not_taken():
    legs = Legs(SECOND, 5 * SECOND)
    for second in (3, 2, 3, 4):
        legs.y.add(LegBar(second * SECOND, "1", 1.0, False))
    assert [bar.start_us // SECOND for bar in legs.y.waiting] == [3, 4]


@given(
    st.lists(st.integers(0, 25), max_size=15, unique=True), st.lists(st.integers(0, 25), max_size=15, unique=True),
    st.integers(1, 6), st.data(),
)  # fmt: skip
def test_rows_do_not_depend_on_when_bars_and_clocks_come(y, x, stale_s, data):
    y, x = sorted(y), sorted(x)
    whole = legs_of(y, x, 30, stale_s)
    legs, rows = Legs(SECOND, stale_s * SECOND), []
    clocks = sorted(data.draw(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("yx")), max_size=12)))
    for closed_s, name in [*clocks, (30, "y"), (30, "x")]:
        leg, seconds = getattr(legs, name), y if name == "y" else x
        for second in seconds:
            if leg.closed_us // SECOND <= second < closed_s:
                leg.add(LegBar(second * SECOND, "1", 1.0, False))
        leg.closed_us = max(leg.closed_us, closed_s * SECOND)
        rows += legs.rows()
    assert [(r.start_us // SECOND, r.carried, r.y.start_us // SECOND, r.x.start_us // SECOND) for r in rows] == whole


#  Price statistics ------------------------------------------------------------------------------------------------------


def test_price_statistics_are_those_of_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: its figures are not compared")
    rng = np.random.default_rng(4)
    closes = np.round(100 + rng.normal(0, 1, 80).cumsum(), 2)
    opens, volumes = np.roll(closes, 1), rng.uniform(0.1, 9, 80)
    highs, lows = np.maximum(opens, closes) + 0.5, np.minimum(opens, closes) - 0.25
    found = price_statistics(opens, highs, lows, closes, volumes, 20)
    series = pandas.Series(closes)
    np.testing.assert_allclose(found.returns, series.pct_change(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.volatility, series.pct_change().rolling(20).std(), rtol=1e-7)
    np.testing.assert_allclose(found.volume_ma, pandas.Series(volumes).rolling(20).mean(), rtol=1e-7)
    np.testing.assert_allclose(found.price_change_pct, (closes / opens - 1) * 100)
    np.testing.assert_allclose(found.high_low_range, highs - lows)
    assert found.rows()[0][:3] == (None, None, None) and found.rows()[19][1] is None and found.rows()[20][1] is not None


@pytest.mark.parametrize("count", [1, 2, 19])
def test_a_short_history_has_what_it_can_have(count):
    ones = np.ones(count)
    rows = price_statistics(ones, ones, ones, ones, ones, 20).rows()
    assert len(rows) == count and {row[1:3] for row in rows} == {(None, None)}
