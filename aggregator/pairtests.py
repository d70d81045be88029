"""Engle-Granger tests off the hot path: the first row of each block of bars is tested, the block's rows carry the result.

The tests themselves are in aggregator/pairmath/cointegration.py. One costs milliseconds.
"""

import numpy as np
from psycopg2.extensions import connection as Connection

from aggregator.pairmath.cointegration import CointegrationTest, engle_granger
from common.database import transaction
from common.settings import Settings
from common.timeframes import timeframe_us
from common.trades import from_us

_WAITING = """
SELECT symbol_pair, timeframe, window_bars, block_us, timestamp FROM pair_tests WHERE tested_at IS NULL
ORDER BY timestamp LIMIT %s
"""
_PRICES = """
SELECT symbol1_price, symbol2_price FROM spread_analytics WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s
    AND method = 'ols' AND timestamp <= %s ORDER BY timestamp DESC LIMIT %s
"""
_TESTED = """
UPDATE pair_tests SET statistic = %s, pvalue = %s, is_cointegrated = %s, tested_at = now()
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND block_us = %s
"""
#: Also the block before: its last rows may have been committed while its own result was being written.
_CARRY = """
UPDATE spread_analytics s SET adf_statistic = t.statistic, adf_pvalue = t.pvalue, is_cointegrated = t.is_cointegrated,
    coint_at = t.timestamp
FROM pair_tests t
WHERE (t.symbol_pair, t.timeframe, t.window_bars) = (%(pair)s, %(timeframe)s, %(window)s)
    AND t.block_us IN (%(block_us)s, %(block_us)s - %(length_us)s) AND t.tested_at IS NOT NULL
    AND (s.symbol_pair, s.timeframe, s.window_bars, s.method) = (t.symbol_pair, t.timeframe, t.window_bars, 'ols')
    AND s.timestamp >= greatest(t.timestamp, %(start)s)
    AND s.timestamp < to_timestamp((t.block_us + %(length_us)s) / 1000000)
    AND s.timestamp < %(end)s
    AND s.coint_at IS NULL
"""


def run_waiting_tests(settings: Settings, connection: Connection, at_most: int) -> int:
    """Do the oldest tests that were asked for; answers how many."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_WAITING, (at_most,))
        waiting = cursor.fetchall()
    for pair, timeframe, window, block_us, timestamp in waiting:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_PRICES, (pair, timeframe, window, timestamp, window))
            prices = np.array(cursor.fetchall(), dtype=np.float64)[::-1]
            full = len(prices) == window
            test = engle_granger(prices[:, 0], prices[:, 1]) if full else CointegrationTest(None, None)
            cursor.execute(_TESTED, (*test, test.is_cointegrated, pair, timeframe, window, block_us))
            length_us = timeframe_us(timeframe) * settings.coint_every_bars
            cursor.execute(_CARRY, {
                "pair": pair, "timeframe": timeframe, "window": window, "block_us": block_us, "length_us": length_us,
                "start": from_us(max(0, block_us - length_us)), "end": from_us(block_us + length_us),
            })  # fmt: skip
    return len(waiting)
