"""What to ask for next and what an answer says: nothing is skipped, nothing is taken for lost that was given."""

from hypothesis import given
from hypothesis import strategies as st

from common.gaps import Gap
from common.trades import Trade
from producer.missing import Asked, Given

GAP = Gap("A", 10, 29, 90, 310)


def trade(trade_id: int) -> Trade:
    return Trade("A", trade_id, trade_id * 10, "1", "1", "b")


def test_a_page_that_begins_behind_the_gap_says_that_it_is_lost():
    found = Given.of(GAP, 10, 90, [trade(40), trade(41)])
    assert found.trades == [] and found.absent == [Gap("A", 10, 29, 90, 310)] and found.next_id > GAP.last_id


def test_a_page_that_ends_inside_the_gap_says_nothing_of_the_rest():
    found = Given.of(GAP, 10, 90, [trade(10), trade(11), trade(14)])
    assert [each.trade_id for each in found.trades] == [10, 11, 14]
    assert found.absent == [Gap("A", 12, 13, 110, 140)] and found.next_id == 15 and found.last_us == 140


@given(st.sets(st.integers(5, 40), min_size=1), st.integers(10, 29))
def test_every_id_up_to_the_next_is_given_or_absent(page, from_id):
    found = Given.of(GAP, from_id, 90, [trade(number) for number in page])
    given_ids = {each.trade_id for each in found.trades}
    absent = {number for gap in found.absent for number in range(gap.first_id, gap.last_id + 1)}
    assert given_ids == {number for number in page if from_id <= number <= GAP.last_id}
    assert given_ids | absent == set(range(from_id, min(found.next_id, GAP.last_id + 1)))
    assert not given_ids & absent


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8), st.integers(0, 25))
def test_the_next_id_was_not_asked_for_and_none_before_it_is_left(ranges, start):
    asked = Asked()
    for first, more in ranges:
        asked.note("A", first, first + more, until_s=10.0)
    taken = {number for first, more in ranges for number in range(first, first + more + 1)}
    found = asked.next_id("A", start, now_s=5.0)
    assert found not in taken and all(number in taken for number in range(start, found))
    assert asked.next_id("A", start, now_s=11.0) == start
