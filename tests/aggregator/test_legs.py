"""Legs of a pair: which rows there are, and whose close is carried."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.legs import LegBar, Legs

SECOND = 1_000_000


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
