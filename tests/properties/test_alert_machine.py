"""The state machine of an alert: against a plain oracle, in any cut, and without what was never seen."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.alerting.machine import Observation, Rule, observe, run
from aggregator.alerting.series import Series, SeriesKey, silences
from common.alertkinds import KINDS, Condition
from common.alertstates import State, acknowledged, paused

SECOND = 1_000_000


def rule(kind: str = "zscore_high", state: State | None = None, expires_us: int | None = None, **condition) -> Rule:
    read = Condition.of(kind, {"threshold": 2.0, **condition}, 60)
    return Rule(1, kind, "A_B", "1s", read, state or State(), expires_us)


def seen(values) -> list[Observation]:
    return [Observation(at * SECOND, value) for at, value in enumerate(values)]


def said(one: Rule, values) -> list[tuple[int, str]]:
    return [(each.us // SECOND, each.name) for each in run(one, seen(values))]


series = st.lists(st.none() | st.sampled_from([-3.0, 0.0, 1.5, 2.0, 2.5, 9.0]), max_size=40)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "for_bars": st.integers(1, 4), "for_s": st.integers(0, 4), "clear": st.sampled_from([0.0, 1.0, 2.0]),
        "cooldown_s": st.integers(0, 8), "repeat_s": st.integers(1, 5), "once": st.booleans(),
    },
)  # fmt: skip


@given(series)
def test_events_are_the_crossings(values):
    known = [(at, value > 2.0) for at, value in enumerate(values) if value is not None]
    states = [False, *[holds for _, holds in known]]
    expected = [
        (at, "triggered" if holds else "cleared")
        for (at, holds), before in zip(known, states, strict=False)
        if holds != before
    ]  # fmt: skip
    assert said(rule(), values) == expected


def oracle(values, for_bars=1, for_s=0, clear=2.0, cooldown_s=0, once=False, **_) -> list[tuple[int, str]]:
    """Crossings by looking at the whole series, with no memory but what was said."""
    told: list[tuple[int, str]] = []
    for at, value in enumerate(values):
        if value is None:
            continue
        fired = [us for us, name in told if name == "triggered"]
        firing = bool(told) and told[-1][1] == "triggered"
        if firing and value <= clear:
            told.append((at, "cleared"))
        elif not firing and not (once and fired):
            since = told[-1][0] + 1 if told else 0
            run_of = []
            for back in range(at, since - 1, -1):
                if values[back] is not None and not values[back] > 2.0:
                    break
                run_of += [back] if values[back] is not None else []
            long_enough = run_of and len(run_of) >= for_bars and at - run_of[-1] >= for_s
            if value > 2.0 and long_enough and (not fired or at >= fired[-1] + cooldown_s):
                told.append((at, "triggered"))
    return told


@given(series, conditions)
def test_every_option_is_what_an_oracle_says(values, condition):
    found = [each for each in said(rule(**condition), values) if each[1] in ("triggered", "cleared")]
    assert found == oracle(values, **condition)


@given(series, conditions, st.lists(st.integers(0, 40), max_size=6))
def test_any_cut_and_any_restart_gives_the_same_events(values, condition, cuts):
    whole = run(rule(**condition), seen(values))
    edges = sorted({0, len(values), *[min(cut, len(values)) for cut in cuts]})
    parts, state = [], State()
    for first, end in pairwise(edges):
        restarted = rule(state=State.from_json(state.to_json()), **condition)
        parts += run(restarted, seen(values)[first:end])
        state = restarted.state
    assert parts == whole


@given(series, conditions, st.lists(st.integers(0, 60), max_size=30))
def test_no_data_is_nothing(values, condition, places):
    """Missing values between the others change neither what is said nor of which values."""
    at_their_time = seen(values)
    holes = [Observation(at * SECOND + 1, value) for at in places for value in (None, float("nan"))]
    mixed = sorted([*at_their_time, *holes], key=lambda each: each.us)
    assert run(rule(**condition), mixed) == run(rule(**condition), at_their_time)


@given(series, conditions)
def test_what_fires_ends_once_and_in_turn(values, condition):
    names = [name for _, name in said(rule(**condition), values) if name in ("triggered", "cleared")]
    assert names == (["triggered", "cleared"] * len(names))[: len(names)]
    assert not condition.get("once") or names.count("triggered") <= 1


@given(series, conditions)
def test_pending_ends_in_triggered_or_lapsed(values, condition):
    names = [name for _, name in said(rule(**condition), values)]
    for before, after in pairwise([name for name in names if name != "repeated"]):
        assert before != "pending" or after in ("triggered", "lapsed")
        assert after != "lapsed" or before == "pending"


@given(series, st.integers(1, 6))
def test_a_repeat_comes_no_sooner_than_asked(values, repeat_s):
    told = [(at, name) for at, name in said(rule(repeat_s=repeat_s), values)]
    for (before, _), (after, name) in pairwise(told):
        assert name != "repeated" or after - before >= repeat_s


@given(series, st.integers(0, 40))
def test_nothing_comes_after_expiry(values, expires):
    events = said(rule(expires_us=expires * SECOND), values)
    assert [each for each in events if each[1] == "expired"] == [(expires, "expired")][: len(values) > expires]
    assert all(at < expires for at, name in events if name != "expired")


@given(series)
def test_a_paused_rule_says_nothing(values):
    one = rule(state=paused(State(), once=False))
    assert said(one, values) == [] and one.state.name == "paused"


@given(st.lists(st.sampled_from([0.0, 9.0]), max_size=20))
def test_an_acknowledged_rule_repeats_nothing_and_still_ends(values):
    one = rule(repeat_s=1)
    assert said(one, [9.0]) == [(0, "triggered")]
    one.state = acknowledged(one.state)
    events = run(one, [Observation(at * SECOND, value) for at, value in enumerate(values, 1)])
    if events:
        assert events[0].name == "cleared" and values[events[0].us // SECOND - 1] == 0.0
    else:
        assert 0.0 not in values and one.state.name == "acknowledged"


@pytest.mark.parametrize(
    ("kind", "holds", "does_not"),
    [
        ("zscore_high", 2.1, 2.0), ("zscore_low", -2.1, -2.0), ("zscore_abs", -2.1, 2.0), ("spread_above", 2.1, 2.0),
        ("spread_below", 1.9, 2.0), ("correlation_break", 1.9, 2.0), ("price_above", 2.1, 2.0), ("price_below", 1.9, 2.0),
        ("price_movement", -2.1, 2.0), ("volume_spike", 2.1, 2.0), ("cointegration_lost", 2.1, 2.0), ("gap", 2.1, 2.0),
    ],
)  # fmt: skip
def test_each_kind_holds_beyond_its_threshold_only_and_arms_again(kind, holds, does_not):
    names = [name for _, name in said(rule(kind), [does_not, holds, holds, does_not, holds])]
    assert names == ["triggered", "cleared", "triggered"]


@pytest.mark.parametrize(
    ("kind", "clear", "between", "over"),
    [
        ("zscore_high", 1.0, 1.5, 1.0), ("zscore_low", 1.0, -1.5, -1.0), ("zscore_low", -1.0, -1.5, -1.0),
        ("zscore_abs", 1.0, -1.5, 1.0), ("spread_below", 3.0, 2.5, 3.0), ("price_movement", 1.0, -1.5, 0.0),
    ],
)  # fmt: skip
def test_between_threshold_and_clear_it_stays_as_it_is(kind, clear, between, over):
    worst = {"zscore_low": -9.0, "spread_below": 0.0}.get(kind, 9.0)
    one = rule(kind, clear=clear)
    assert said(one, [between, over, worst, between, over, between]) == [(2, "triggered"), (4, "cleared")]


def test_cointegration_is_lost_only_by_a_pair_that_had_it():
    assert said(rule("cointegration_lost", threshold=0.05), [0.5, 0.9]) == []
    assert said(rule("cointegration_lost", threshold=0.05), [0.5, 0.01, 0.5, 0.04]) == [(2, "triggered"), (3, "cleared")]


def test_every_type_has_a_source_and_room_for_its_default():
    for kind in KINDS.values():
        assert kind.default is None or kind.low <= kind.default <= kind.high
        assert ("method" in kind.options) == kind.of_pair


arrivals = st.lists(st.integers(0, 200), max_size=30).map(sorted)


@given(arrivals, st.integers(1, 40), st.lists(st.integers(0, 260), max_size=5).map(sorted))
def test_silences_are_the_gaps_between_arrivals_however_often_one_looks(times, limit_s, looks):
    """Seconds at which trades arrive; the clock is looked at any number of times on the way."""
    end = 260
    one = rule("feed_stale", threshold=limit_s)
    events, last_ms = [], 0
    for look in [*looks, end]:
        batch = [at * 1000 for at in times if last_ms < at * 1000 <= look * 1000]
        events += run(one, silences(last_ms, batch, look * 1000, limit_s * SECOND))
        last_ms = max([last_ms, *batch])
    moments = [0, *sorted(set(times) - {0}), None]
    expected = []
    for before, after in pairwise(moments):
        if (end if after is None else after) - before >= limit_s:
            expected += [(before + limit_s, "triggered")] + ([(after, "cleared")] if after is not None else [])
    assert [(each.us // SECOND, each.name) for each in events] == expected


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=40), st.integers(1, 6), st.data())
def test_a_look_back_that_is_read_again_sees_the_same(bars, window, data):
    """The last bars read from the table, then the rest, give what one long run gives."""
    rows = [
        {"us": at, "close": float(close), "volume": float(volume), "status": "complete"}
        for at, (close, volume) in enumerate(bars)
    ]
    rules = [rule("volume_spike", window=window), rule("price_movement", window=max(1, window - 1))]
    whole = Series(SeriesKey("bar", "A", "1s"), rules)
    expected = [[observation for _, observation in whole.look(row)] for row in rows]
    cut = data.draw(st.integers(0, len(rows)))
    again = Series(SeriesKey("bar", "A", "1s"), rules)
    again.remember(rows[max(0, cut - again.look_back) : cut])
    assert [[observation for _, observation in again.look(row)] for row in rows[cut:]] == expected[cut:]
    for at, (volume, move) in enumerate(expected):
        assert (volume.value is None) == (at < window)
        if at >= window:
            assert volume.value == pytest.approx(bars[at][1] / (sum(size for _, size in bars[at - window : at]) / window))
        if at >= max(1, window - 1):
            assert move.value == pytest.approx((bars[at][0] / bars[at - max(1, window - 1)][0] - 1) * 100)


def test_an_observation_from_before_the_firing_says_nothing():
    one = rule(state=State("firing", since_us=5 * SECOND, fired_us=5 * SECOND, told_us=5 * SECOND))
    assert observe(one, Observation(4 * SECOND, 0.0)) is None
    cleared = observe(replace(one), Observation(6 * SECOND, 0.0))
    assert cleared and (cleared.name, cleared.facts["fired_us"]) == ("cleared", 5 * SECOND)
