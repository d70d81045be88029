"""The hedge ratio as a hidden random walk, followed by a Kalman filter that starts again each UTC day. Pure.

y = a + b x + v, and (b, a) take a random step each row. The filter starts at the least squares line through the last W rows,
with that line's own covariance (X'X)^-1 R. A step's covariance is `DRIFT / W` of it, so that at rest a row moves the line by
about 1/W: the window is the filter's memory, and nothing depends on the unit of a price. R, the variance of v, is learnt with
the same memory: R += (e^2 / q - R) / W, for an innovation e of variance q R (West and Harrison 1997, 10.8; the filter itself:
Chan 2013, chapter 3, whose constants are for prices near 20).

Formulas work on columns and on plain floats alike. Prices are `apart` from the first day's row that the filter started on.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from aggregator.pairmath.lines import moments
from aggregator.pairmath.windows import apart

Array = np.ndarray[Any, Any]
#: Variance of a row's step of the coefficients, in shares of the covariance of the least squares line, times W.
DRIFT = 1.0
DAY_US = 86_400_000_000


class FilterState(NamedTuple):
    """What the filter knows after a row: columns, or floats. Variances in units of `noise`.

    `slope`, `offset`: y - y0 = offset + slope (x - x0) (of logarithms: of their differences). `bb`, `ab`, `aa`: their
    covariance. `noise`: R. `y0`, `x0`: prices of the row it started on. `step_*`: covariance of a row's random step.
    """

    slope: Any
    offset: Any
    bb: Any
    ab: Any
    aa: Any
    noise: Any
    y0: Any
    x0: Any
    step_bb: Any
    step_ab: Any
    step_aa: Any


STATE_SIZE = len(FilterState._fields)


class Innovation(NamedTuple):
    """How far y was from its prediction, and the variance that was expected of that."""

    error: Any
    variance: Any


def started(y: Array, x: Array, log: bool) -> tuple[FilterState, Innovation]:
    """The state after the last row of full windows (a window a line), NaN where x stands still.

    The innovation is what the same line without its last row would have been off by: residual / (1 - leverage).
    """
    window = y.shape[-1]
    yd, xd = apart(y, y[:, -1:], log), apart(x, x[:, -1:], log)
    of = moments(yd, xd)
    with np.errstate(invalid="ignore", divide="ignore"):
        xx = np.where(of.xx > 0, of.xx, np.nan)
        slope = of.xy / xx
        offset = of.y_mean - slope * of.x_mean
        residual = yd - offset[:, None] - slope[:, None] * xd
        noise = (residual * residual).sum(axis=1) / (window - 2)
        bb, ab, aa = 1 / xx, -of.x_mean / xx, 1 / window + of.x_mean * of.x_mean / xx
        step = DRIFT / window
        free = 1 - aa  # 1 - leverage of the last row, which lies at 0
        state = FilterState(slope, offset, bb, ab, aa, noise, y[:, -1], x[:, -1], bb * step, ab * step, aa * step)
        return state, Innovation(-offset / free, noise / free)


def followed(state: FilterState, yd: Any, xd: Any, window: int) -> tuple[FilterState, Innovation]:
    """The state one row on; `yd` and `xd` are the row's prices `apart` from `state.y0` and `state.x0`."""
    bb, ab, aa = state.bb + state.step_bb, state.ab + state.step_ab, state.aa + state.step_aa
    pb, pa = bb * xd + ab, ab * xd + aa
    q = pb * xd + pa + 1
    error = yd - state.offset - state.slope * xd
    gain_b, gain_a = pb / q, pa / q
    noise = state.noise + (error * error / q - state.noise) / window
    after = FilterState(
        state.slope + gain_b * error, state.offset + gain_a * error,
        bb - gain_b * pb, ab - gain_b * pa, aa - gain_a * pa,
        noise, *state[6:],
    )  # fmt: skip
    return after, Innovation(error, state.noise * q)


def filter_rows(
    window: int, y: Array, x: Array, starts_us: Array, new: int, log: bool, state: FilterState | None
) -> tuple[Array, Array, Array]:
    """States (rows, STATE_SIZE), innovations and their variances of the last `new` rows, NaN where it has not started.

    `state`: as of the row before them (floats), or None.
    """
    states = np.full((new, STATE_SIZE), np.nan)
    errors, variances = np.full(new, np.nan), np.full(new, np.nan)
    first = len(y) - new
    days = (starts_us // DAY_US).tolist()
    for row in range(new):
        at = first + row
        if state is None or days[at - 1] != days[at]:
            state = None
            if at + 1 >= window:
                columns, innovation = started(y[None, at - window + 1 : at + 1], x[None, at - window + 1 : at + 1], log)
                if not math.isnan(columns.slope[0]):
                    state = FilterState(*(float(column[0]) for column in columns))
                    errors[row], variances[row] = innovation.error[0], innovation.variance[0]
        else:
            yd, xd = float(y[at]) - state.y0, float(x[at]) - state.x0
            if log:
                yd, xd = float(np.log1p(yd / state.y0)), float(np.log1p(xd / state.x0))
            state, (errors[row], variances[row]) = followed(state, yd, xd, window)
            if math.isnan(state.slope):  # a row left out (`strict`): it starts again with the next full window
                state = None
        if state is not None:
            states[row] = state
    return states, errors, variances
