"""Prices and sizes of any scale that the judge lets through, beside coarser ones."""

import numpy as np
import pytest

from aggregator.bars import times_powers
from aggregator.core import Core
from common.columns import to_columns
from common.trades import Trade

START_US = 1_768_478_400_000_000  # 2026-01-15T12:00:00Z


@pytest.mark.parametrize("digits", [1, 18, 19, 25, 37])
@pytest.mark.parametrize("side", ["", "s", "b"])
def test_open_bars_follow_the_finest_scale_though_nobody_has_bought_yet(digits, side):
    """Ticks without a side leave the taker's sums at zero, and zero at any scale is small."""
    core = Core(("1s", "1m"), 1_000)
    for number, price in enumerate(("7", "0." + "0" * (digits - 1) + "1")):
        columns = to_columns([Trade("A", number, START_US + number, price, "2", side)], [0])
        core.on_trades(columns, np.full(1, START_US // 1000), START_US // 1000)
    for bars in core.open.values():
        assert (bars.open.tolist(), bars.low.tolist()) == ([7 * 10**digits], [1])
        assert bars.taker_quote.tolist() == [(7 * 10**digits + 1) * 2 if side == "b" else 0]


def test_powers_beyond_the_table_are_exact_of_zeros_and_of_others():
    assert times_powers(np.zeros(2, dtype=np.int64), np.array([0, 25])).tolist() == [0, 0]
    assert times_powers(np.array([0, 3]), np.array([30, 0])).tolist() == [0, 3]
