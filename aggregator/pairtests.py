"""Tests of pairs off the hot path: the first row of each block of bars is tested, the block's rows carry the result.

The tests themselves (Engle-Granger, Dickey-Fuller, Hurst, variance ratio) are in `aggregator.pairmath`; they cost milliseconds.
"""

from typing import Any

import numpy as np
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from aggregator.alerting import inbox
from aggregator.pairmath import TestResult, pair_tests
from aggregator.pairmath.cointegration import engle_granger as engle_granger
from aggregator.pairrows import carry_result
from common.database import transaction
from common.pairseries import SeriesKey
from common.settings import Settings
from common.timeframes import timeframe_us

#: Live rows wait for theirs: the newest come first, and what a computed history asks for after them.
_WAITING = """
SELECT symbol_pair, timeframe, window_bars, method, block_us, timestamp FROM pair_tests WHERE tested_at IS NULL
ORDER BY timestamp DESC LIMIT %s
"""
_WINDOW = """
SELECT symbol1_price::float8, symbol2_price::float8, spread, leg_prices IS NOT NULL FROM spread_analytics
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND timestamp <= %s
ORDER BY timestamp DESC LIMIT %s
"""
_TESTED = """
UPDATE pair_tests SET statistic = %s, pvalue = %s, is_cointegrated = %s, spread_adf_statistic = %s, spread_adf_pvalue = %s,
    hurst = %s, variance_ratio = %s, tested_at = now()
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND block_us = %s
"""
_WAS_TESTED = """
SELECT num_nonnulls(statistic, pvalue, hurst, variance_ratio) > 0 FROM pair_tests
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND block_us = %s
"""
_NO_ANSWER = TestResult(None, None, None, None, None, None, None)
#: Two processes may test at once, not the same rows.
_LOCK = 0x6765_6D73_0004


def run_waiting_tests(settings: Settings, connection: Connection, at_most: int) -> int:
    """Do the newest tests that were asked for; answers how many."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_WAITING, (at_most,))
        waiting = cursor.fetchall()[::-1]
    for *parts, block_us, timestamp in waiting:
        key = SeriesKey(*parts)
        length_us = timeframe_us(key.timeframe) * settings.coint_every_bars
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute(_WAS_TESTED, (*key, block_us))
            was = cursor.fetchone()
            cursor.execute(_TESTED, (*_test(cursor, key, timestamp), *key, block_us))
            carry_result(cursor, key, block_us, length_us)
            inbox.note_test(cursor, key, timestamp, is_new=not (was and was[0]))
    return len(waiting)


def _test(cursor: Cursor, key: SeriesKey, timestamp: Any) -> TestResult:
    """The tests over the window that ends with a row; without an answer where the window is not full."""
    cursor.execute(_WINDOW, (*key, timestamp, key.window))
    rows = cursor.fetchall()[::-1]
    if len(rows) < key.window:
        return _NO_ANSWER
    y, x, spreads = np.array([row[:3] for row in rows], dtype=np.float64).T
    if "log" in key.method.split("+"):
        y, x = np.log(y), np.log(x)
    found = pair_tests(y, x, spreads)
    of_basket = rows[-1][3]  # there is no Engle-Granger test of its first two legs alone
    return found._replace(coint_statistic=None, coint_pvalue=None, is_cointegrated=None) if of_basket else found
