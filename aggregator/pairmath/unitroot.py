"""Unit root tests with the lag chosen by AIC: what statsmodels' `adfuller` and `coint` answer, for a tenth of their time. Pure.

The regressions of all lags are nested, so one QR of the largest gives every one's sum of squares; statsmodels fits each of them
again. A design in which a column is all but a combination of others is left to statsmodels and its pseudo-inverse: importing it
takes two seconds of CPU and 100 MB, which a process pays only if it ever meets such a window.
"""

import math
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
#: How much of a column must be its own, beside the others.
_OWN = 1e-7
#: Residuals of a fit that explains more than this of y say nothing.
_EXPLAINED = 1 - 100 * math.sqrt(float(np.finfo(np.float64).eps))


class _Table(NamedTuple):
    """Approximate distribution of the statistic in a regression with a constant (MacKinnon 1994, tables 3 and 4)."""

    least: float
    most: float
    turn: float
    small: tuple[float, ...]  # coefficients of the normal quantile up to `turn`, constant first
    large: tuple[float, ...]


_OF_SERIES = _Table(-18.83, 2.74, -1.61, (2.1659, 1.4412, 0.038269), (1.7339, 0.93202, -0.12745, -0.010368))
_OF_RESIDUALS = _Table(-18.86, 0.92, -2.62, (2.92, 1.5012, 0.039796), (2.1945, 0.64695, -0.29198, -0.042377))


class Collinear(ArithmeticError):
    """Some column is all but a combination of the others."""


def dickey_fuller(values: Array) -> tuple[float, float]:
    """Statistic and p-value of the augmented Dickey-Fuller test with a constant, lags by AIC.

    Raises:
        ValueError: too few values for a regression.
    """
    try:
        statistic = _statistic(values, constant=True)
    except Collinear:
        from statsmodels.tsa.stattools import adfuller

        found = adfuller(values, result_object=False)
        return float(found[0]), float(found[1])
    return statistic, _pvalue(statistic, _OF_SERIES)


def engle_granger_test(y: Array, x: Array) -> tuple[float, float]:
    """Statistic and p-value of the Engle-Granger test of y on x with a constant, lags by AIC.

    (-inf, 0) where x explains all of y.

    Raises:
        ValueError: too few values for a regression.
    """
    yc, xc = y - y.mean(), x - x.mean()
    yc, xc = yc - yc.mean(), xc - xc.mean()
    residuals = yc - (xc @ yc) / (xc @ xc) * xc
    if 1 - (residuals @ residuals) / (yc @ yc) >= _EXPLAINED:
        return -math.inf, 0.0
    try:
        statistic = _statistic(residuals, constant=False)
    except Collinear:
        from statsmodels.tsa.stattools import coint

        found = coint(y, x)
        return float(found[0]), float(found[1])
    return statistic, _pvalue(statistic, _OF_RESIDUALS)


def _statistic(values: Array, constant: bool) -> float:
    """t of the lagged level; the longest lag is Schwert's (1989), and all lags are compared over the same rows.

    Where that lag would need as many columns as there are rows, one less: statsmodels takes the perfect fit for the best and
    answers 0 with p = 0.986, whatever the values.
    """
    longest = math.ceil(12.0 * (len(values) / 100.0) ** 0.25)
    longest = min(longest, len(values) // 2 - 1 - constant, (len(values) - 3 - constant) // 2)
    if longest < 0:
        raise ValueError(f"{len(values)} values are too few for a regression")
    columns, changes = _design(values, longest, constant)
    q, _ = _qr(columns)
    along = q.T @ changes
    left = changes - q @ along
    squares = left @ left + np.append(np.cumsum(along[::-1] ** 2)[::-1], 0.0)  # [m]: of the first m columns
    used = np.arange(1 + constant, len(along) + 1)
    with np.errstate(divide="ignore"):
        criteria = len(changes) * np.log(squares[used]) + 2 * used
    return _t_of_level(*_design(values, int(np.argmin(criteria)), constant), level=int(constant))


def _design(values: Array, lags: int, constant: bool) -> tuple[Array, Array]:
    """Columns (1 if wanted, the level before each change, its earlier changes), and the changes, where all are known."""
    steps = np.diff(values)
    rows = len(steps) - lags
    columns = [np.ones(rows)] if constant else []
    columns += [values[lags:-1], *(steps[lags - lag : len(steps) - lag] for lag in range(1, lags + 1))]
    return np.stack(columns, axis=1), steps[lags:]


def _t_of_level(columns: Array, changes: Array, level: int) -> float:
    columns = np.concatenate((np.delete(columns, level, axis=1), columns[:, level : level + 1]), axis=1)
    q, r = _qr(columns)
    along = q.T @ changes
    left = changes - q @ along
    deviation = math.sqrt(left @ left / (len(changes) - columns.shape[1]))
    return float(along[-1] * np.sign(r[-1, -1]) / deviation) if deviation else math.nan


def _qr(columns: Array) -> tuple[Array, Array]:
    q, r = np.linalg.qr(columns)
    if (np.abs(np.diag(r)) <= _OWN * np.sqrt((columns * columns).sum(axis=0))).any():
        raise Collinear
    return q, r


def _pvalue(statistic: float, table: _Table) -> float:
    if not table.least <= statistic <= table.most:
        return 1.0 if statistic > table.most else 0.0
    coefficients = table.small if statistic <= table.turn else table.large
    quantile = sum(each * statistic**power for power, each in enumerate(coefficients))
    return 0.5 * math.erfc(-quantile / math.sqrt(2))
