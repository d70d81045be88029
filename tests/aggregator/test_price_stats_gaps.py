"""Which rows say that a bar they used has a gap, however the bars come."""

import numpy as np
import pytest

from aggregator.pricestats import FIELDS, Windows, statistics_of

WINDOW = 4


def bars_with_gaps(count: int, *at: int) -> np.ndarray:
    """Bars (fields x bars) at prices that move, of which these have a gap."""
    bars = np.array([[100.0 + n % 3, 104.0, 99.0, 101.0 + n % 2, 5.0, 500.0, 2.0, 0.0] for n in range(count)]).T
    bars[FIELDS.index("gap"), list(at)] = 1.0
    return bars


def used_a_gap(bars: np.ndarray) -> list[bool]:
    """By hand: a row uses its W bars and, for the first one's return, the bar before them."""
    gaps = bars[FIELDS.index("gap")]
    return [bool(gaps[max(0, n - WINDOW) : n + 1].any()) for n in range(len(gaps))]


@pytest.mark.parametrize("at", [(2,), (0,), (2, 3), (3, 11), ()])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 20])
def test_a_gap_is_told_by_the_rows_that_used_it_and_by_no_later_one(at, step):
    bars = bars_with_gaps(20, *at)
    windows = Windows(WINDOW)
    slot = windows.add_slots(1)[0]
    told = []
    for begin in range(0, 20, step):
        piece = bars[:, begin : begin + step]
        told += windows.follow(np.full(piece.shape[1], slot), piece)[1].tolist()
    assert told == used_a_gap(bars)


@pytest.mark.parametrize("begin", range(1, 20))
def test_a_computation_from_anywhere_on_tells_the_same(begin):
    bars = bars_with_gaps(20, 5)
    _, gaps = statistics_of(bars[:, begin:], bars[:, max(0, begin - WINDOW) : begin], WINDOW)
    assert gaps.tolist() == used_a_gap(bars)[begin:]
