"""Faults of the first implementation of this contract, one test each: they must not come back.

11 (client faults as 500, unbounded limits, uploads in memory) and 12 (`COUNT(*)` for `stats/`) are the web's, see tests/web;
14 (a futures feed that acknowledges and stays silent) is the producer's, see tests/producer.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from aggregator.pairmath import batch
from aggregator.pairtests import engle_granger
from aggregator.pricestats import NAMES
from common.codec import iso_us, parse_iso_us
from common.pairmethod import PairMethod
from common.trades import Trade, from_us, to_us
from tests.aggregator.house import SECOND, START_US, House, each_second
from tests.aggregator.stored import alert, feed, recomputed, transitions, two_walks

BARS = "SELECT timestamp, volume, tick_count, close FROM processed_bars WHERE symbol = 'A' AND timeframe = %s ORDER BY timestamp"


@pytest.fixture
def house(settings, redis_client, database) -> Iterator[House]:
    update = {"symbols": ("A", "B"), "pairs": ("A_B",), "window": 5, "stale_leg_s": 20}
    made = House(settings.model_copy(update=update), redis_client, database)
    yield made
    made.close()


def test_01_minute_bars_are_of_a_minute_not_of_a_month(house):
    feed(house, each_second("A", ["5"] * 400))
    house.quiet(400)
    for timeframe, seconds, count in (("1m", 60, 7), ("5m", 300, 2)):
        bars = house.rows(BARS, timeframe)
        assert [row[0] for row in bars] == [from_us(START_US + n * seconds * SECOND) for n in range(count)]
        assert bars[0][2] == seconds


@pytest.mark.parametrize("rate", [50, 100])
def test_02_a_bar_is_never_overwritten_by_a_part_of_itself(house, rate):
    rng = random.Random(rate)
    trades = [Trade("A", n, START_US + n * SECOND // rate, "5", str(rng.randint(1, 9)), "b") for n in range(1, rate * 12)]
    feed(house, trades, step=17)
    house.quiet(400)
    assert [row[2] for row in house.rows(BARS, "1s")] == [rate - 1, *[rate] * 11]
    assert house.differences() == [] and house.rows("SELECT max(revision) FROM processed_bars") == [(0,)]


def test_03_times_are_utc_wherever_they_come_from(house, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    stamp = to_us(datetime(2026, 1, 15, 12, 0, 0, 123456, tzinfo=UTC))
    assert parse_iso_us("2026-01-15T17:30:00.123456+05:30") == parse_iso_us("2026-01-15T12:00:00.123456Z") == stamp
    assert iso_us(stamp) == "2026-01-15T12:00:00.123456Z"
    house.take([Trade("A", 1, stamp, "5", "1", "b")])
    house.quiet(5)
    assert house.rows("SELECT timestamp FROM raw_ticks") == [(datetime(2026, 1, 15, 12, 0, 0, 123456, tzinfo=UTC),)]
    assert house.rows(BARS, "1s")[0][0] == datetime(2026, 1, 15, 12, tzinfo=UTC)


def test_04_redelivery_does_not_double_the_volume(house):
    trades = each_second("A", ["5"] * 10)
    feed(house, trades)
    feed(house, trades[6:] + trades[:2])
    house.quiet(400)
    house.rebuild_marks()
    assert house.rows("SELECT sum(volume) FROM processed_bars WHERE timeframe = '1s'") == [(10,)]
    assert house.rows("SELECT count(*) FROM raw_ticks") == [(10,)] and house.differences() == []


def test_05_one_trade_of_a_quiet_symbol_is_stored_and_closed_and_survives_a_restart(house):
    house.take([Trade("A", 1, START_US, "5", "1", "b")])
    assert house.rows("SELECT count(*) FROM raw_ticks") == [(1,)]
    house.start()
    house.quiet(1.6)
    assert [row[2] for row in house.rows(BARS, "1s")] == [1]


def test_06_rows_of_the_past_keep_their_own_hedge_ratio(house):
    trades = two_walks(80, missing=0.0)
    rows = "SELECT timestamp, hedge_ratio, spread, revision FROM spread_analytics WHERE timeframe = '1s' ORDER BY timestamp"
    feed(house, trades[:100])
    before = house.rows(rows)
    feed(house, trades[100:])
    house.quiet(5)
    recomputed(house)
    after = house.rows(rows)
    assert len(before) > 40 and after[: len(before)] == before and len({row[1] for row in after}) > 60


def test_07_residuals_are_tested_with_engle_grangers_values():
    from statsmodels.tsa.stattools import adfuller

    plain, ours = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        y, x = 100 + rng.normal(size=(2, 100)).cumsum(axis=1)
        slope, intercept = np.polyfit(x, y, 1)
        plain += adfuller(y - slope * x - intercept, result_object=False)[1] < 0.05
        ours += bool(engle_granger(y, x).is_cointegrated)
    assert ours <= 3 < plain, "of 40 independent pairs about two may pass"


def test_08_any_hedge_ratio_fits_and_no_deviation_is_null(house):
    """BTC against DOGE is above 1e5; a flat pair has no score, and no inf."""
    rng = random.Random(8)
    doge = [f"0.{rng.randint(10_000, 10_100)}" for _ in range(12)]
    btc = [f"{400_000 * Decimal(price) + rng.randint(0, 9)}" for price in doge]
    flat = [*btc, *["50000"] * 22], [*doge, *["0.1"] * 22]
    feed(house, sorted(each_second("A", flat[0]) + each_second("B", flat[1]), key=lambda trade: trade.event_us))
    house.quiet(5)
    rows = house.rows(
        "SELECT hedge_ratio, spread, z_score, rolling_std, correlation FROM spread_analytics WHERE timeframe = '1s'"
        " ORDER BY timestamp"
    )
    assert max(row[0] for row in rows if row[0] is not None) > 1e5
    assert rows[-1] == (None,) * 5
    assert all(value is None or np.isfinite(value) for row in rows for value in row)
    of_b = f"SELECT {', '.join(NAMES)} FROM price_stats WHERE timeframe = '1s' AND symbol = 'B' ORDER BY timestamp"  # noqa: S608
    last = house.rows(of_b)
    assert all(value is None or np.isfinite(value) for row in last for value in row)
    assert [name for name, value in zip(NAMES, last[-1], strict=True) if value is None] == ["volatility", "realised_volatility"]


def test_09_a_zero_is_stored_as_zero(house):
    house.take([Trade("A", n, START_US + n * SECOND, "5", "1", "s") for n in range(1, 4)])
    house.quiet(5)
    assert house.rows("SELECT DISTINCT taker_buy_volume FROM processed_bars WHERE timeframe = '1s'") == [(0,)]
    stats = "SELECT returns, price_change_pct, high_low_range FROM price_stats WHERE timeframe = '1s' ORDER BY timestamp DESC"
    assert house.rows(f"{stats} LIMIT 1") == [(0.0, 0.0, 0.0)]
    flat_y = batch(PairMethod(), 3, np.full(9, 5.0), np.arange(9.0), np.arange(9), np.zeros(0), 9)[0].rows()[-1]
    assert flat_y[0] == 0.0 and flat_y[2] == 0.0


@pytest.mark.parametrize("kind", ["zscore_high", "zscore_low", "correlation_break", "volume_spike", "price_movement"])
def test_10_every_type_is_evaluated_on_every_row(house, kind):
    """Thirty rows in one commit: a crossing in the middle of them is seen."""
    threshold = {"zscore_high": 1.0, "zscore_low": 1.0, "correlation_break": 0.5, "volume_spike": 5, "price_movement": 20}[kind]
    single = kind in ("volume_spike", "price_movement")
    rng = random.Random(10)
    a = each_second("A", [str(100 + rng.randint(-3, 3)) for _ in range(40)])
    a[25] = a[25]._replace(price="160", size="9")
    b = each_second("B", [str(50 + rng.randint(-3, 3)) for _ in range(40)])
    watched = alert(house, kind, "A" if single else "A_B", threshold=threshold)
    house.take(sorted(a + b, key=lambda trade: trade.event_us))
    house.quiet(5)
    names = [name for _, name in transitions(house, watched)]
    assert "triggered" in names and "cleared" in names
    if single:
        assert (25, "triggered") in transitions(house, watched)


def test_13_the_intercept_is_part_of_the_spread(house):
    feed(house, two_walks(40, missing=0.0))
    house.quiet(5)
    rows = house.rows(
        "SELECT symbol1_price, symbol2_price, hedge_ratio, intercept, spread FROM spread_analytics"
        " WHERE timeframe = '1s' AND spread IS NOT NULL"
    )
    for y, x, slope, intercept, spread in rows:
        assert spread == pytest.approx(float(y) - intercept - slope * float(x), abs=1e-6)
    assert len(rows) > 30 and max(abs(row[3]) for row in rows) > 100 > max(abs(row[4]) for row in rows)
