"""The mathematics of pairs: pure functions of aligned closes, no I/O, no clock.

`batch` computes a stretch of rows, `Rolling` one row of many live pairs at a time, with the same values. `pair_tests` are the
tests that cost milliseconds, `basket_batch` is for more than two legs. See docs/decisions/0013.
"""

from aggregator.pairmath.baskets import BasketStatistics, basket_batch
from aggregator.pairmath.batch import batch
from aggregator.pairmath.cointegration import TestResult, pair_tests
from aggregator.pairmath.rolling import Rolling
from aggregator.pairmath.statistics import NAMES, Statistics, state_rows

__all__ = [
    "NAMES", "BasketStatistics", "Rolling", "Statistics", "TestResult", "basket_batch", "batch", "pair_tests", "state_rows",
]  # fmt: skip
