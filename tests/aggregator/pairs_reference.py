"""The definitions of pair statistics once more, to 60 digits and the slow way: what law 5 compares with.

Prices are whole numbers of 2^-60, sums are whole numbers, the rest has 60 digits. The filter is the textbook's, with matrices of
(x, 1), where the code under test works on differences.
"""

from collections.abc import Sequence
from decimal import Decimal, getcontext
from fractions import Fraction
from itertools import pairwise
from operator import mul

import numpy as np
import pytest

from aggregator.pairmath import NAMES
from aggregator.pairmath.lines import HUBER_ITERATIONS
from common.pairmethod import PairMethod

getcontext().prec = 60
DAY_US = 86_400_000_000
_PRICE_BITS, _BITS = 60, 180
_LN_2 = Decimal(2).ln()
Row = dict[str, Decimal | None]


def exact(
    method: PairMethod, window: int, y: np.ndarray, x: np.ndarray, starts_us: Sequence[int] | None = None
) -> list[Row]:
    """A row each; None where undefined."""
    ys, xs = _levels(y, method.log), _levels(x, method.log)
    returns = [_returns(leg, method.log) for leg in (y, x)]
    days = [start // DAY_US for start in (starts_us if starts_us is not None else [0] * len(y))]
    spreads: list[Decimal | None] = []
    rows: list[Row] = []
    kalman = Kalman(window)
    for t in range(len(ys)):
        row: Row = dict.fromkeys(NAMES)
        rows.append(row)
        spreads.append(None)
        floor = Decimal("1e-12") * (max(abs(ys[t]), 1) if method.log else abs(Decimal(float(y[t]))))
        part = slice(t - window + 1, t + 1)
        wy, wx = (ys[part], xs[part]) if t + 1 >= window else ([], [])
        line = None
        if wx:
            sums = _Sums(wy, wx)
            row["correlation"] = sums.correlation()
            row["return_correlation"] = _Sums(*(leg[t - window + 2 : t + 1] for leg in returns)).correlation()
            if sums.xx and method.estimator != "kalman":
                line = huber(wy, wx) if method.estimator == "huber" else getattr(sums, method.estimator)()
        if method.estimator == "kalman" and wx:
            kalman.take(days[t], wy, wx)
            if sums.xx and kalman.line:
                line = kalman.line
                error, variance = kalman.innovation
                row["innovation_z"] = error / variance.sqrt() if variance > 0 and variance.sqrt() > floor else None
        if line:
            b, a = line
            spreads[t] = ys[t] - a - b * xs[t]
            row.update(hedge_ratio=b, intercept=a, spread=spreads[t])
        _describe(row, spreads, t, window, floor, method.prior)
    return rows


def _describe(row: Row, spreads: list[Decimal | None], t: int, window: int, floor: Decimal, prior: bool) -> None:
    end = t if prior else t + 1
    counted = spreads[max(0, end - window) : end]
    if len(counted) == window and None not in counted:
        mean = sum(counted) / window
        std = (sum((v - mean) ** 2 for v in counted) / (window - 1)).sqrt()
        row["rolling_mean"] = mean
        if std > floor:
            row["rolling_std"] = std
            row["z_score"] = (spreads[t] - mean) / std if spreads[t] is not None else None
    recent = spreads[max(0, t + 1 - window) : t + 1]
    if len(recent) == window and None not in recent:
        before, changes = recent[:-1], [after - one for one, after in pairwise(recent)]
        mean, mean_change = sum(before) / len(before), sum(changes) / len(changes)
        xx = sum((v - mean) ** 2 for v in before)
        if (xx / (len(before) - 1)).sqrt() > floor:
            slope = sum((v - mean) * (c - mean_change) for v, c in zip(before, changes, strict=True)) / xx
            row["half_life"] = -_LN_2 / slope if slope < 0 else None


class _Sums:
    """Centred sums of products, from whole numbers."""

    def __init__(self, y: list[Decimal], x: list[Decimal]) -> None:
        self.n = n = len(y)
        wy, wx = [_whole(v) for v in y], [_whole(v) for v in x]
        self.y, self.x = Decimal(sum(wy)) / n / 2**_BITS, Decimal(sum(wx)) / n / 2**_BITS
        sy, sx = sum(wy), sum(wx)
        unit = Decimal(2) ** (2 * _BITS) * n
        self.xx, self.yy, self.xy = (
            Decimal(n * sum(map(mul, *two)) - one) / unit
            for *two, one in ((wx, wx, sx * sx), (wy, wy, sy * sy), (wx, wy, sx * sy))
        )

    def correlation(self) -> Decimal | None:
        return self.xy / (self.xx * self.yy).sqrt() if self.xx > Decimal("1e-40") and self.yy > Decimal("1e-40") else None

    def _through_the_mean(self, b: Decimal) -> tuple[Decimal, Decimal]:
        return b, self.y - b * self.x

    def ols(self) -> tuple[Decimal, Decimal]:
        return self._through_the_mean(self.xy / self.xx)

    def tls(self) -> tuple[Decimal, Decimal] | None:
        """From the quadratic xy b^2 - (yy - xx) b - xy = 0, the root that has the sign of xy."""
        if not self.xy:
            return self._through_the_mean(Decimal(0)) if self.yy < self.xx else None
        d = self.yy - self.xx
        return self._through_the_mean((d + (d * d + 4 * self.xy * self.xy).sqrt()) / (2 * self.xy))


def huber(y: list[Decimal], x: list[Decimal]) -> tuple[Decimal, Decimal]:
    """Reweighted until 25 digits stand still, or as often as is done at most."""
    start = _Sums(y, x)
    b, a = start.ols()
    for _ in range(HUBER_ITERATIONS):
        distances = [abs(one - a - b * two) for one, two in zip(y, x, strict=True)]
        ordered, half = sorted(distances), len(y) // 2
        median = ordered[half] if len(y) % 2 else (ordered[half - 1] + ordered[half]) / 2
        bound = Decimal("1.345") * median / Decimal("0.6744897501960817432022230145")
        if not bound:
            return b, a
        w = [min(Decimal(1), bound / one) if one else Decimal(1) for one in distances]
        total = sum(w)
        my, mx = sum(map(mul, w, y)) / total, sum(map(mul, w, x)) / total
        new_b = sum(k * (one - my) * (two - mx) for k, one, two in zip(w, y, x, strict=True)) / sum(
            k * (two - mx) ** 2 for k, two in zip(w, x, strict=True)
        )
        step, b, a = abs(new_b - b), new_b, my - new_b * mx
        if step <= abs(b) * Decimal("1e-25"):
            break
    return b, a


class Kalman:
    """The filter of (b, a) on rows (x, 1), begun again each day at the least squares line."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.line: tuple[Decimal, Decimal] | None = None
        self.day: int | None = None

    def take(self, day: int, y: list[Decimal], x: list[Decimal]) -> None:
        """One row: the last of the window given."""
        if self.line is None or day != self.day:
            self._start(y, x)
        else:
            self._follow(y[-1], x[-1])
        self.day = day

    def _start(self, y: list[Decimal], x: list[Decimal]) -> None:
        sums, n = _Sums(y, x), self.window
        if not sums.xx:
            self.line = None
            return
        b, a = self.line = sums.ols()
        self.noise = sum((one - a - b * two) ** 2 for one, two in zip(y, x, strict=True)) / (n - 2)
        self.p = [[1 / sums.xx, -sums.x / sums.xx], [-sums.x / sums.xx, 1 / Decimal(n) + sums.x**2 / sums.xx]]
        self.step = [[value / n for value in line] for line in self.p]
        # the same line without its last row, and how far that row is from it
        rest = _Sums(y[:-1], x[:-1])
        if rest.xx:
            b, a = rest.ols()
            leverage = 1 / Decimal(n - 1) + (x[-1] - rest.x) ** 2 / rest.xx
            self.innovation = y[-1] - a - b * x[-1], self.noise * (1 + leverage)
        else:
            self.innovation = Decimal(0), Decimal(0)

    def _follow(self, y: Decimal, x: Decimal) -> None:
        p = [[one + two for one, two in zip(*lines, strict=True)] for lines in zip(self.p, self.step, strict=True)]
        b, a = self.line
        h = (x, Decimal(1))
        ph = [line[0] * h[0] + line[1] * h[1] for line in p]
        q = ph[0] * h[0] + ph[1] * h[1] + 1
        error = y - a - b * x
        self.innovation = error, self.noise * q
        self.line = b + ph[0] / q * error, a + ph[1] / q * error
        self.p = [[p[i][j] - ph[i] * ph[j] / q for j in range(2)] for i in range(2)]
        self.noise += (error * error / q - self.noise) / self.window


def _whole(value: Decimal) -> int:
    return int((value * 2**_BITS).to_integral_value())


def _levels(prices: np.ndarray, log: bool) -> list[Decimal]:
    return [Decimal(float(price)).ln() if log else Decimal(float(price)) for price in prices]


def _returns(prices: np.ndarray, log: bool) -> list[Decimal]:
    """One a row; the first is never used."""
    exact_prices = [Fraction(float(price)) for price in prices]
    ratios = [Fraction(1), *(after / one for one, after in pairwise(exact_prices))]
    decimals = [Decimal(ratio.numerator) / Decimal(ratio.denominator) for ratio in ratios]
    return [ratio.ln() for ratio in decimals] if log else [ratio - 1 for ratio in decimals]


def assert_rows_equal(
    found: list[tuple], expected: list[Row], y: np.ndarray, x: np.ndarray, window: int, method: PairMethod
) -> None:
    """To 1e-9 of the exact value; or to what rounding the sums once (1e-13) moves the exact value by, where that is more."""
    assert len(found) == len(expected)
    spread_errors: list[float] = []
    for t, (values, wanted) in enumerate(zip(found, expected, strict=True)):
        row = dict(zip(NAMES, values, strict=True))
        for name in NAMES:
            assert (row[name] is None) == (wanted[name] is None), (t, name, row[name], wanted[name])
        part = slice(max(0, t - window + 1), t + 1)
        wy, wx = (np.log(y[part]), np.log(x[part])) if method.log else (y[part], x[part])
        b = float(wanted["hedge_ratio"] or 0)
        slope_error = _slope_error(wy, wx, b, method)
        spread_errors.append(1e-13 * max(np.ptp(wy), abs(b) * np.ptp(wx)) + slope_error * np.ptp(wx))
        error = max(spread_errors[max(0, t - window) :])
        before = [float(each["spread"] or 0) for each in expected[max(0, t - window + 1) : t]]
        share, share_before = error / float(wanted["rolling_std"] or 1), error / (np.std(before) or 1) if before else 0
        tolerances = {
            "hedge_ratio": slope_error, "intercept": 1e-14 * (abs(wy[-1]) + abs(b * wx[-1])) + slope_error * abs(wx[-1]),
            "spread": spread_errors[t], "rolling_mean": error, "rolling_std": error,
            "z_score": (1 + abs(float(wanted["z_score"] or 0))) * (share + 1e-12),
            "correlation": 1e-13, "return_correlation": 1e-13,
            "half_life": float(wanted["half_life"] or 0) * (share_before + float(wanted["half_life"] or 0) * 1e-13),
            "innovation_z": 1e-12 + share,
        }  # fmt: skip
        for name in NAMES:
            if row[name] is not None:
                assert row[name] == pytest.approx(float(wanted[name]), rel=1e-9, abs=tolerances[name]), (t, name)


def _slope_error(y: np.ndarray, x: np.ndarray, b: float, method: PairMethod) -> float:
    """Of a slope of rounded sums. The axis of a round cloud, and a steep one, hang on the last digits."""
    error = 1e-13 * np.ptp(y) / (np.ptp(x) or 1)
    if method.estimator == "tls" and np.ptp(x) and np.ptp(y):
        (yy, xy), (_, xx) = np.cov(y, x)
        error += 1e-14 * (1 + b * b) * (xx + yy) / max(np.hypot(yy - xx, 2 * xy), 1e-300)
    return error
