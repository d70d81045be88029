"""Pair statistics agree with pandas and statsmodels, within the error of those."""

import json

import numpy as np
import pandas as pd
import pytest

from aggregator.pairmath import NAMES, Statistics, batch
from aggregator.pairmath.batch import _describe_spreads
from aggregator.pairmath.lines import half_life, moments
from common.pairmethod import PairMethod
from tests.aggregator.walks import common_candles, shared_path, starts, walk

NOTHING = np.zeros(0)
BTC, ETH = (f"binance_spot_{coin}USDT_5m_2024-01-01_00-12h.csv" for coin in ("BTC", "ETH"))
PUBLISHED = "pairs_ref/binance_spot_1h_close_2024-01-01_2024-03-01.csv"


def of(text, y, x, window):
    return batch(PairMethod.parse(text), window, y, x, starts(len(y)), NOTHING, len(y))[0]


def test_rolling_ols_of_statsmodels_agrees_within_its_own_error():
    from statsmodels.regression.rolling import RollingOLS
    from statsmodels.tools import add_constant

    y, x = walk(8, 400)
    peer = RollingOLS(y, add_constant(x), window=60).fit().params
    ours = of("ols", y, x, 60)
    np.testing.assert_allclose(ours.hedge_ratio[59:], peer[59:, 1], rtol=1e-6)
    np.testing.assert_allclose(ours.intercept[59:], peer[59:, 0], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("text", ["ols", "ols+log", "ols+prior"])
def test_pandas_agrees_within_its_own_error(text):
    y, x = walk(8, 400)
    ours = of(text, y, x, 60)
    frame = pd.DataFrame({"y": y, "x": x})
    levels = np.log(frame) if "log" in text else frame
    returns = levels.diff() if "log" in text else frame.pct_change()
    spread = pd.Series(ours.spread)
    window = (spread.shift() if "prior" in text else spread).rolling(60)
    np.testing.assert_allclose(ours.correlation, levels.y.rolling(60).corr(levels.x), rtol=1e-6)
    np.testing.assert_allclose(ours.return_correlation, returns.y.rolling(59).corr(returns.x), rtol=1e-7)
    np.testing.assert_allclose(ours.rolling_mean, window.mean(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.rolling_std, window.std(), rtol=1e-7)
    np.testing.assert_allclose(ours.z_score, (spread - window.mean()) / window.std(), rtol=1e-6, atol=1e-9)
    slope = levels.y.rolling(60).cov(levels.x) / levels.x.rolling(60).var()
    np.testing.assert_allclose(ours.hedge_ratio, slope, rtol=1e-6)


@pytest.mark.parametrize("text", ["huber", "huber+log"])
def test_the_robust_line_is_that_of_rlm(text):
    from statsmodels.api import RLM, add_constant
    from statsmodels.robust.norms import HuberT

    y, x = walk(8, 90)
    y[70] *= 1.01
    ours = of(text, y, x, 30)
    if "log" in text:
        y, x = np.log(y), np.log(x)
    for t in range(29, 90, 3):
        part = slice(t - 29, t + 1)
        centre = np.median(x[part])
        peer = RLM(y[part], add_constant(x[part] - centre), M=HuberT()).fit(maxiter=500, tol=1e-12).params
        assert ours.hedge_ratio[t] == pytest.approx(peer[1], rel=1e-7)
        assert ours.intercept[t] == pytest.approx(peer[0] - peer[1] * centre, rel=1e-6)


def test_the_axis_is_that_of_a_singular_value_decomposition():
    y, x = walk(8, 90)
    ours = of("tls", y, x, 30)
    for t in range(29, 90):
        points = np.stack((x, y), axis=1)[t - 29 : t + 1]
        across, along = np.linalg.svd(points - points.mean(axis=0))[2][0]
        assert ours.hedge_ratio[t] == pytest.approx(along / across, rel=1e-9)


def test_a_calm_market_scores_its_innovations_like_a_standard_normal():
    rng = np.random.default_rng(4)
    x = 100 + rng.normal(0, 0.1, 20_000).cumsum()
    y = 1.7 * x + 3 + rng.normal(0, 0.4, 20_000)
    ours = of("kalman", y, x, 60)
    scores = ours.innovation_z[100:]
    assert abs(scores.mean()) < 0.03 and scores.std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.corrcoef(scores[1:], scores[:-1])[0, 1]) < 0.1  # it expects steps that this market never takes
    assert np.median(ours.hedge_ratio[100:]) == pytest.approx(1.7, abs=0.05)


def test_the_filter_follows_a_ratio_that_drifts():
    rng = np.random.default_rng(5)
    x = 100 + rng.normal(0, 0.3, 3_000).cumsum()
    ratio = np.linspace(1.0, 2.0, 3_000)
    y = ratio * (x - 100) + 50 + rng.normal(0, 0.2, 3_000)
    ours = of("kalman", y, x, 60)
    assert np.median(np.abs(ours.hedge_ratio - ratio)[200:]) < 0.1


def test_half_lives_are_those_of_a_known_process():
    rng = np.random.default_rng(6)
    spread = np.zeros(60_000)
    for t in range(1, len(spread)):
        spread[t] = 0.95 * spread[t - 1] + rng.normal()
    found = moments(np.diff(spread)[None], spread[None, :-1])
    assert half_life(found.xy, found.xx, 59_999, np.zeros(1))[0] == pytest.approx(np.log(2) / 0.05, rel=0.06)


@pytest.mark.parametrize(("kind", "text"), [("price", "ols"), ("log", "ols+log")])
def test_figures_of_a_day_of_real_candles(kind, text):
    path = shared_path("pairs_ref/computed_statsmodels_BTC_ETH_5m_2024-01-01_00-12h.json")
    expected = json.loads(path.read_text())["results"][kind]
    y, x, _ = common_candles(BTC, ETH)
    row = dict(zip(NAMES, of(text, y, x, len(y)).rows()[-1], strict=True))
    assert row["hedge_ratio"] == pytest.approx(expected["ols_beta"], rel=1e-9)
    assert row["intercept"] == pytest.approx(expected["ols_alpha"], rel=1e-9)
    assert row["correlation"] == pytest.approx(expected["corr"], rel=1e-9)
    residuals = (np.log(y) if "log" in text else y) - row["intercept"] - row["hedge_ratio"] * (np.log(x) if "log" in text else x)
    before = residuals[:-1] - residuals[:-1].mean()
    assert -np.log(2) * (before**2).sum() / (before * np.diff(residuals)).sum() == pytest.approx(
        expected["half_life_bars"], rel=1e-9
    )
    assert _score_of(residuals, 20) == pytest.approx(expected["rolling20_z_last"], rel=1e-7)


def _score_of(residuals, window):
    """The z-score of the last of given spreads, those of the rows before it as stored."""
    found = Statistics.of_table(np.full((len(NAMES), 1), np.nan))
    found.spread[:] = residuals[-1]
    _describe_spreads(PairMethod(), window, residuals, 1, np.zeros(1), found)
    return found.z_score[0]


def test_the_published_correlation_of_prices():
    table = np.genfromtxt(shared_path(PUBLISHED), delimiter=",", names=True)
    found = of("ols", table["BTCUSDT"], table["ETHUSDT"], len(table))
    assert f"{found.correlation[-1]:.6f}" == "0.909241"


def test_the_published_correlation_of_log_returns():
    path = shared_path("pairs_ref/binance_1h_published_results.json")
    expected = json.loads(path.read_text())["pairs"][0]["published"]["corr_log_returns"]
    table = np.genfromtxt(shared_path(PUBLISHED), delimiter=",", names=True)
    found = of("ols+log", table["SOLUSDT"], table["BTCUSDT"], len(table))
    assert f"{found.return_correlation[-1]:.6f}" == f"{expected:.6f}"
