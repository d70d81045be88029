"""Tests of a pair's window: cointegration, unit root, memory. Pure."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from aggregator.pairmath.unitroot import dickey_fuller, engle_granger_test

Array = np.ndarray[Any, Any]
#: Below this p-value a pair counts as cointegrated.
LEVEL = 0.05
#: Lags of the spread that the Hurst exponent looks at: 1 to this, at most a quarter of the window.
HURST_LAGS = 20
#: Bars that a step of the variance ratio spans.
RATIO_BARS = 4


class CointegrationTest(NamedTuple):
    """Statistic and p-value; both None where the test has no answer (a flat leg, a perfect fit)."""

    statistic: float | None
    pvalue: float | None

    @property
    def is_cointegrated(self) -> bool | None:
        """True below the 5 % level; None without an answer."""
        return None if self.pvalue is None else self.pvalue < LEVEL


class TestResult(NamedTuple):
    """What the tests say of one window; None where one has no answer."""

    coint_statistic: float | None
    coint_pvalue: float | None
    is_cointegrated: bool | None
    spread_adf_statistic: float | None
    spread_adf_pvalue: float | None
    hurst: float | None
    variance_ratio: float | None


def pair_tests(y: Array, x: Array, spreads: Array) -> TestResult:
    """All tests of one window: prices of the legs (their logarithms for a log method) and its spreads, oldest first.

    Spreads may be fewer than prices; NaN among them (a window not yet full of spreads): the tests of the spread are None.
    """
    found = engle_granger(y, x)
    adf = augmented_dickey_fuller(spreads)
    return TestResult(
        found.statistic, found.pvalue, found.is_cointegrated, adf.statistic, adf.pvalue, hurst(spreads), variance_ratio(spreads)
    )


def engle_granger(y: Array, x: Array) -> CointegrationTest:
    """Test y on x with a constant, lags by AIC: as statsmodels' `coint`.

    Its critical values are those of residuals with an estimated hedge ratio (MacKinnon 2010): plain Dickey-Fuller values on
    fitted residuals reject too often.
    """
    return CointegrationTest(None, None) if _is_still(y) or _is_still(x) else _finite(engle_granger_test, y, x)


def augmented_dickey_fuller(spreads: Array) -> CointegrationTest:
    """Unit root in the stored spreads, with a constant, lags by AIC: as statsmodels' `adfuller`.

    The values of a series as it is. The spread has fitted ratios in it, so this one alone calls too many spreads stationary:
    what counts is `engle_granger`.
    """
    return CointegrationTest(None, None) if _is_still(spreads) else _finite(dickey_fuller, spreads)


def hurst(spreads: Array) -> float | None:
    """Hurst exponent: the slope of log deviation of the spread's k-bar changes on log k, k = 1 to min(20, a quarter of them).

    The scaling of second moments (Mandelbrot and Van Ness 1968; the generalised exponent for q = 2 of Di Matteo 2007): 0.5 for
    a random walk, below for what reverts, above for what trends. None below 16 spreads, or where some change is constant.
    """
    lags = np.arange(1, min(HURST_LAGS, len(spreads) // 4) + 1)
    if len(spreads) < 16 or not np.isfinite(spreads).all():
        return None
    deviations = np.array([np.std(spreads[lag:] - spreads[:-lag]) for lag in lags])
    if (deviations <= np.abs(spreads).max() * 1e-12).any():
        return None
    x, y = np.log(lags), np.log(deviations)
    xc = x - x.mean()
    return float((xc * (y - y.mean())).sum() / (xc * xc).sum())


def variance_ratio(spreads: Array, bars: int = RATIO_BARS) -> float | None:
    """Variance of the spread's q-bar changes over q times that of its 1-bar changes: 1 for a random walk, below: it reverts.

    Overlapping and unbiased (Lo and MacKinlay 1988, equations 12 to 14). None below 4 q changes, or where it stands still.
    """
    changes = len(spreads) - 1
    if changes < 4 * bars or _is_still(spreads):
        return None
    drift = (spreads[-1] - spreads[0]) / changes
    one = ((np.diff(spreads) - drift) ** 2).sum() / (changes - 1)
    many = ((spreads[bars:] - spreads[:-bars] - bars * drift) ** 2).sum()
    many /= bars * (changes - bars + 1) * (1 - bars / changes)
    return float(many / one) if one > (np.abs(spreads).max() * 1e-12) ** 2 else None


def _is_still(values: Array) -> bool:
    """Whether there is nothing to test: no values, none that moves, or one that is not finite."""
    return len(values) == 0 or not np.isfinite(values).all() or not np.ptp(values) > np.abs(values).max() * 1e-12


def _finite(test: Callable[..., tuple[float, float]], *series: Array) -> CointegrationTest:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns of collinear columns: the answer tells
        try:
            statistic, pvalue = test(*series)
        except ValueError:  # too few points for a lag
            return CointegrationTest(None, None)
    if not np.isfinite(statistic) or not np.isfinite(pvalue):
        return CointegrationTest(None, None)
    return CointegrationTest(float(statistic), float(pvalue))
