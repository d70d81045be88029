"""The plan of a chaos run: pure, seeded, fair to every kind, and never two faults on one target."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.plan import REST_S, plan
from ops.chaos.storm import KINDS

SHAPES = [kind.shape() for kind in KINDS]
TARGETS = {shape.kind: shape.targets for shape in SHAPES}


def test_the_same_seed_gives_the_same_plan():
    assert plan(7, 300, SHAPES) == plan(7, 300, SHAPES) != plan(8, 300, SHAPES)


def test_kinds_have_names_of_their_own():
    assert len(TARGETS) == len(KINDS)


def test_ten_minutes_hold_every_kind_and_many_faults():
    for seed in (1, 2):
        planned = plan(seed, 600, SHAPES)
        assert {each.kind for each in planned} == set(TARGETS)
        assert len(planned) >= 100


@given(st.integers(0, 10_000), st.floats(5, 400), st.floats(0.5, 10))
def test_faults_end_in_time_and_leave_each_other_alone(seed, length_s, every_s):
    planned = plan(seed, length_s, SHAPES, every_s)
    assert all(each.at_s + each.lasts_s <= length_s + 0.02 for each in planned)
    for one, other in combinations(planned, 2):
        if TARGETS[one.kind] & TARGETS[other.kind]:
            assert other.at_s >= one.at_s + one.lasts_s + REST_S - 0.02
