"""Pair statistics equal the exact ones on the same window, at every step, and know nothing of what comes later."""

import json
from decimal import Decimal, getcontext
from fractions import Fraction
from itertools import pairwise
from operator import mul
from pathlib import Path

import numpy as np
import pytest

from aggregator.legs import LegBar, Row
from aggregator.pairs import PairStatistics, pair_statistics
from aggregator.pairwindow import Window
from common.pairseries import SeriesKey
from aggregator.pairtests import engle_granger

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "pairs_ref"
NAMES = ("hedge_ratio", "intercept", "spread", "rolling_mean", "rolling_std", "z_score", "correlation")
NOTHING = np.zeros(0)
getcontext().prec = 60


def walk(seed: int, count: int, outlier_at: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Prices in cents of a cointegrated pair; y may have one price of 1e9."""
    rng = np.random.default_rng(seed)
    x = np.round(2300 + rng.normal(0, 0.5, count).cumsum(), 2)
    y = np.round(18.5 * x + 40 + rng.normal(0, 3, count), 2)
    if outlier_at is not None:
        y[outlier_at] = 1e9
    return y, x


def all_rows(y: np.ndarray, x: np.ndarray, window: int) -> PairStatistics:
    return pair_statistics(y, x, NOTHING, window, len(y))


def exact(y: np.ndarray, x: np.ndarray, window: int) -> list[dict[str, float | None]]:
    """The definitions of DESIGN section 5, window by window: sums in whole numbers, the rest to 60 digits."""
    unit = 2**60  # a price in float64 is a whole number of these
    ys, xs = [int(Fraction(v) * unit) for v in y], [int(Fraction(v) * unit) for v in x]
    spreads: list[Decimal | None] = []
    rows = []
    for t in range(len(ys)):
        row: dict[str, float | None] = dict.fromkeys(NAMES)
        rows.append(row)
        spreads.append(None)
        wy, wx = ys[max(0, t - window + 1) : t + 1], xs[max(0, t - window + 1) : t + 1]
        sy, sx = sum(wy), sum(wx)
        # window**2 times the centred sums
        xx, yy, xy = (
            window * sum(map(mul, *two)) - one for *two, one in ((wx, wx, sx * sx), (wy, wy, sy * sy), (wx, wy, sx * sy))
        )
        if len(wy) < window or not xx:
            continue
        b = Decimal(xy) / Decimal(xx)
        a = (Decimal(sy) - b * sx) / window / unit
        spreads[t] = Decimal(ys[t]) / unit - a - b * xs[t] / unit
        row.update(hedge_ratio=float(b), intercept=float(a), spread=float(spreads[t]))
        if yy:
            row["correlation"] = float(xy / (Decimal(xx) * yy).sqrt())
        recent = spreads[max(0, t - window + 1) : t + 1]
        if len(recent) == window and None not in recent:
            mean = sum(recent) / window
            std = (sum((v - mean) ** 2 for v in recent) / (window - 1)).sqrt()
            row["rolling_mean"] = float(mean)
            if std > Decimal("1e-12") * Decimal(float(y[t])):
                row.update(rolling_std=float(std), z_score=float((spreads[t] - mean) / std))
    return rows


def assert_equal_to_exact(y: np.ndarray, x: np.ndarray, window: int) -> None:
    found = all_rows(y, x, window).rows()
    for t, (row, expected) in enumerate(zip(found, exact(y, x, window), strict=True)):
        scale = np.ptp(y[max(0, t - window + 1) : t + 1]) or 1.0
        for name, value in zip(NAMES, row, strict=True):
            wanted = expected[name]
            assert (value is None) == (wanted is None), (t, name, value, wanted)
            # a spread near zero is a difference of prices that move by `scale`
            tiny = scale * 1e-13 if name in ("spread", "rolling_mean") else 1e-12 if name == "z_score" else 0.0
            assert value is None or value == pytest.approx(wanted, rel=1e-9, abs=tiny), (t, name)


@pytest.mark.parametrize(("window", "count"), [(3, 60), (10, 60), (60, 150), (300, 605)])
def test_every_row_equals_the_exact_result(window, count):
    assert_equal_to_exact(*walk(window, count), window)


@pytest.mark.parametrize("window", [5, 40])
def test_every_row_equals_the_exact_result_before_with_and_after_an_outlier(window):
    assert_equal_to_exact(*walk(7, 3 * window + 60, outlier_at=50), window)


def test_large_levels_with_small_moves_stay_exact():
    """Cents on 100,000: the case in which running sums are off by 1e-7."""
    rng = np.random.default_rng(3)
    x = np.round(100_000 + rng.integers(-2, 3, 150).cumsum() * 0.01, 2)
    y = np.round(99_000 + rng.integers(-2, 3, 150).cumsum() * 0.01, 2)
    assert_equal_to_exact(y, x, 20)


def test_a_flat_leg_has_no_ratio_and_a_flat_spread_no_score():
    moving, flat = walk(1, 50)[0], np.full(50, 0.1)
    of_flat_x = all_rows(moving, flat, 10).rows()
    assert set(of_flat_x) == {(None,) * 7}
    of_flat_y = all_rows(flat, moving, 10)
    assert set(of_flat_y.hedge_ratio[9:]) == {0.0} and set(of_flat_y.spread[9:]) == {0.0}
    for row in of_flat_y.rows():
        assert row[4:] == (None, None, None), "neither 0, NaN nor inf"
    perfect = all_rows(2 * moving + 1, moving, 10)
    assert np.isnan(perfect.z_score).all() and np.isnan(perfect.rolling_std).all()


def test_a_leg_that_was_flat_is_exact_again_once_it_moves():
    y, x = walk(2, 90)
    x[20:40] = x[20]
    assert_equal_to_exact(y, x, 8)


@pytest.mark.parametrize("window", [3, 60])
@pytest.mark.parametrize("at", [70, 119, 130, 139])
def test_later_prices_never_change_an_earlier_row(window, at):
    y, x = walk(11, 140)
    before = all_rows(y, x, window).rows()
    y[at:] *= 1.5
    x[at:] = 7.0
    after = all_rows(y, x, window).rows()
    assert before[:at] == after[:at] and before[at:] != after[at:]


def series_of(window: int) -> Window:
    return Window(SeriesKey("A_B", "1s", window))


def rows_of(y: np.ndarray, x: np.ndarray) -> list[Row]:
    bars = [[LegBar(t, str(v), float(v), False) for t, v in enumerate(leg)] for leg in (y, x)]
    return [Row(t, legs, "") for t, legs in enumerate(zip(*bars, strict=True))]


@pytest.mark.parametrize("window", [3, 7, 60, 129])
def test_one_by_one_or_all_at_once_gives_the_same_bits(window):
    rows = rows_of(*walk(5, 2 * window + 40, outlier_at=30))
    whole = series_of(window).extend(rows)
    single, chunks = series_of(window), series_of(window)
    assert [value for row in rows for value in single.extend([row])] == whole
    cuts = sorted({0, 1, min(17, len(rows)), window + 3, len(rows)})
    parts = [rows[start:end] for start, end in pairwise(cuts)]
    assert [value for part in parts for value in chunks.extend(part)] == whole


def test_long_histories_are_worked_on_in_pieces_with_the_same_bits(monkeypatch):
    y, x = walk(6, 500)
    whole = all_rows(y, x, 30).rows()
    monkeypatch.setattr("aggregator.pairmath.windows._CHUNK_NUMBERS", 300)
    assert all_rows(y, x, 30).rows() == whole


def test_statsmodels_agrees_within_its_own_error():
    from statsmodels.regression.rolling import RollingOLS
    from statsmodels.tools import add_constant

    y, x = walk(8, 300)
    peer = RollingOLS(y, add_constant(x), window=60).fit().params
    ours = all_rows(y, x, 60)
    np.testing.assert_allclose(ours.hedge_ratio[59:], peer[59:, 1], rtol=1e-5)
    np.testing.assert_allclose(ours.intercept[59:], peer[59:, 0], rtol=1e-4, atol=1e-2)


def test_the_engle_granger_test_is_statsmodels_coint():
    from statsmodels.tsa.stattools import coint

    y, x = walk(9, 120)
    found = engle_granger(y, x)
    statistic, pvalue, _ = coint(y, x)
    assert (found.statistic, found.pvalue) == (statistic, pvalue) and found.is_cointegrated is True


def test_plain_adf_values_would_call_too_many_pairs_cointegrated():
    """Two independent walks, forty times: about one in twenty may pass, not one in six."""
    passed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        passed += bool(engle_granger(*(100 + rng.normal(size=(2, 100)).cumsum(axis=1))).is_cointegrated)
    assert passed <= 6


@pytest.mark.parametrize("legs", [(np.full(60, 5.0), walk(1, 60)[1]), (walk(1, 60)[0], np.full(60, 5.0))])
def test_a_flat_leg_has_no_cointegration_test(legs):
    assert engle_granger(*legs) == (None, None) and engle_granger(*legs).is_cointegrated is None


def shared_closes() -> dict[str, np.ndarray]:
    path = SHARED / "binance_spot_1h_close_2024-01-01_2024-03-01.csv"
    if not path.exists():
        pytest.skip(f"published results are not checked: {path} is not there")
    table = np.genfromtxt(path, delimiter=",", names=True)
    return {name: table[name] for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}


def test_published_results_are_reproduced():
    closes = shared_closes()
    found = engle_granger(closes["SOLUSDT"], closes["BTCUSDT"])
    assert found.statistic == pytest.approx(-3.759751, abs=2e-6) and found.pvalue == pytest.approx(0.015325, abs=2e-6)
    count = len(closes["BTCUSDT"])
    whole = pair_statistics(closes["BTCUSDT"], closes["ETHUSDT"], NOTHING, count, 1)
    assert whole.correlation[0] == pytest.approx(0.909241, abs=1e-6)


def test_stata_agrees_on_its_own_example():
    from statsmodels.tsa.stattools import coint

    closes = shared_closes()
    assert closes
    y0, y1 = np.genfromtxt(SHARED / "stata_egranger_y0_y1.csv", delimiter=",", skip_header=1).T
    expected = next(iter(json.loads((SHARED / "stata_expected.json").read_text()).values()))["c"]["t"]
    assert coint(y0, y1, maxlag=4, autolag=None)[0] == pytest.approx(expected, rel=1e-6)
