"""The window of a live series gives what a computation of all rows gives."""

from itertools import pairwise

import numpy as np
import pytest

from aggregator.legs import LegBar, Row
from aggregator.pairwindow import Window
from common.pairseries import SeriesKey
from tests.aggregator.walks import walk


def series_of(window: int) -> Window:
    return Window(SeriesKey("A_B", "1s", window))


def rows_of(y: np.ndarray, x: np.ndarray) -> list[Row]:
    bars = [[LegBar(t, str(v), float(v), False) for t, v in enumerate(leg)] for leg in (y, x)]
    return [Row(t, legs, "") for t, legs in enumerate(zip(*bars, strict=True))]


@pytest.mark.parametrize("window", [3, 7, 60, 129])
def test_one_by_one_or_all_at_once_gives_the_same_bits(window):
    rows = rows_of(*walk(5, 2 * window + 40, bad_at=30))
    whole = series_of(window).extend(rows)
    single, chunks = series_of(window), series_of(window)
    assert [value for row in rows for value in single.extend([row])] == whole
    cuts = sorted({0, 1, min(17, len(rows)), window + 3, len(rows)})
    parts = [rows[start:end] for start, end in pairwise(cuts)]
    assert [value for part in parts for value in chunks.extend(part)] == whole
