"""Law 5 with `--deep`: a day of a pair's rows again from the stored bars, two-pass centred in extended precision.

Written apart from the aggregator's pair stage on purpose: both legs side by side by searching, every window on its own. That is
for lines that are a formula (ols, tls); filters, robust lines and baskets are compared by a task, see `ops.verify.rowtasks`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from psycopg2.extensions import cursor as Cursor

from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-9
#: A deviation below this share of the price is rounding: there is none, nor a z-score. Just above it, neither is had to 1e-9.
FLOOR = 1e-12
STATISTICS = ("hedge_ratio", "intercept", "spread", "rolling_mean", "rolling_std", "z_score", "correlation")
_CHUNK_NUMBERS = 2_000_000
_SERIES = "SELECT DISTINCT symbol_pair, timeframe, window_bars, method FROM spread_analytics ORDER BY 1, 2, 3, 4"
_FORMULAS = ("ols", "tls")
_CONTEXT = """
SELECT min(us), count(*) FROM (SELECT (extract(epoch FROM timestamp) * 1000000)::bigint AS us FROM spread_analytics
    WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND timestamp < %s
    ORDER BY timestamp DESC LIMIT %s) AS before
"""
_BARS = """
SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, close::float8, status = 'gap' FROM processed_bars
WHERE symbol = %s AND timeframe = %s AND timestamp >= %s AND timestamp < %s ORDER BY timestamp
"""
_ROWS = f"""
SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, symbol1_price::float8, symbol2_price::float8, carried, has_gap,
    {", ".join(STATISTICS)} FROM spread_analytics
WHERE symbol_pair = %s AND timeframe = %s AND window_bars = %s AND method = %s AND timestamp >= %s AND timestamp < %s
ORDER BY timestamp
"""  # noqa: S608


class Series(NamedTuple):
    """One series of rows."""

    pair: str
    timeframe: str
    window: int
    method: str = "ols"

    @property
    def is_formula(self) -> bool:
        """True if `compare_rows` knows how it is made."""
        return self.method.split("+")[0] in _FORMULAS

    @property
    def name(self) -> str:
        """As findings name it."""
        return f"{self.pair} {self.timeframe} window {self.window}" + (f" {self.method}" if self.method != "ols" else "")


class BadRow(NamedTuple):
    """A row that is not what the bars say."""

    start_us: int
    told: str


def stored_series(cursor: Cursor) -> list[Series]:
    """Every series that has rows."""
    cursor.execute(_SERIES)
    return [Series(*row) for row in cursor.fetchall()]


def compare_rows(
    cursor: Cursor, series: Series, legs: tuple[str, str], day: int, closed_us: int, stale_us: int, complete_us: int
) -> tuple[int, list[BadRow]]:
    """Compare the rows of a UTC day whose bars end at or before `closed_us`; answers how many there are, and the bad ones.

    A row before `complete_us` may not be missing.
    """
    start_us, end_us = day * US_PER_DAY, min((day + 1) * US_PER_DAY, closed_us - timeframe_us(series.timeframe) + 1)
    if end_us <= start_us:
        return 0, []
    cursor.execute(_ROWS, (*series, from_us(start_us), from_us(end_us)))
    stored = {row[0]: row[1:] for row in cursor.fetchall()}
    cursor.execute(_CONTEXT, (*series, from_us(start_us), 2 * series.window + 1))
    since_us, before = cursor.fetchone() or (None, 0)
    first_us = since_us if since_us is not None else min(stored, default=end_us)
    y, x = (_leg(cursor, symbol, series.timeframe, first_us - stale_us, end_us) for symbol in legs)
    at, y_close, x_close, carried, has_gap = side_by_side(y, x, first_us, stale_us)
    options = series.method.split("+")
    left_out = has_gap & ("strict" in options)
    priced = np.where(left_out, np.nan, y_close), np.where(left_out, np.nan, x_close)
    statistics = recompute(*priced, series.window, series.method)
    unsure = 0 if before > 2 * series.window else 2 * series.window  # rows whose windows began before the series
    bad = []
    expected = set()
    for row in np.flatnonzero(at >= start_us).tolist():
        stamp = int(at[row])
        expected.add(stamp)
        if stamp in stored:
            values = (y_close[row], x_close[row], carried[row], has_gap[row], *(column[row] for column in statistics))
            told = _told(stored[stamp], values, row < unsure, "log" in options)
        else:
            told = "is missing" if stamp < complete_us else ""
        if told:
            bad.append(BadRow(stamp, told))
    bad += [BadRow(stamp, "no bars say so") for stamp in sorted(set(stored) - expected)]
    return len(expected | set(stored)), bad


def side_by_side(
    y: tuple[Array, Array, Array], x: tuple[Array, Array, Array], first_us: int, stale_us: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Of the rows from the first bar at or after `first_us` on that both have: times, closes of y and of x, which leg is carried
    ('y', 'x', ''), and if a bar used has a gap."""
    (y_at, y_close, y_gap), (x_at, x_close, x_gap) = y, x
    at = np.union1d(y_at, x_at)
    at = at[at >= first_us]
    if not len(y_at) or not len(x_at) or not len(at):
        return at[:0], y_close[:0], x_close[:0], np.zeros(0, dtype="U1"), np.zeros(0, dtype=bool)
    in_y, in_x = np.searchsorted(y_at, at, side="right") - 1, np.searchsorted(x_at, at, side="right") - 1
    both = (in_y >= 0) & (in_x >= 0)
    at, in_y, in_x = at[both], in_y[both], in_x[both]
    carried = np.where(y_at[in_y] < at, "y", np.where(x_at[in_x] < at, "x", ""))
    kept = at - np.minimum(y_at[in_y], x_at[in_x]) <= stale_us
    at, in_y, in_x = at[kept], in_y[kept], in_x[kept]
    return at, y_close[in_y], x_close[in_x], carried[kept], y_gap[in_y] | x_gap[in_x]


def recompute(y: Array, x: Array, window: int, method: str = "ols") -> list[Array]:
    """The statistics of each row in the order of `STATISTICS`; NaN where a window is not full or a value is undefined."""
    estimator, *options = method.split("+")
    wide_y, wide_x = y.astype(np.longdouble), x.astype(np.longdouble)
    if "log" in options:
        wide_y, wide_x = np.log(wide_y), np.log(wide_x)
    slope, intercept, correlation = (np.full(len(y), np.nan, dtype=np.longdouble) for _ in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        for rows, ys, xs in _windows(window, wide_y, wide_x):
            y_mean, x_mean = ys.mean(axis=1), xs.mean(axis=1)
            yc, xc = ys - y_mean[:, None], xs - x_mean[:, None]
            moves_y, moves_x = np.ptp(ys, axis=1) > 0, np.ptp(xs, axis=1) > 0
            xx, xy, yy = (xc**2).sum(axis=1), (xc * yc).sum(axis=1), (yc**2).sum(axis=1)
            if estimator == "tls":
                half = (yy - xx) / 2
                slope[rows] = np.where(moves_x & (xy != 0), (half + np.hypot(half, xy)) / xy, np.where(yy < xx, 0.0, np.nan))
            else:
                slope[rows] = xy / xx
            slope[rows] = np.where(moves_x, slope[rows], np.nan)
            intercept[rows] = y_mean - slope[rows] * x_mean
            correlation[rows] = np.where(moves_x & moves_y, xy / np.sqrt(xx * yy), np.nan)
        spread = wide_y - intercept - slope * wide_x
        mean, deviation = np.full(len(y), np.nan, dtype=np.longdouble), np.full(len(y), np.nan, dtype=np.longdouble)
        for rows, values in _windows(window, spread):
            mean[rows] = values.mean(axis=1)
            deviation[rows] = np.sqrt(((values - mean[rows][:, None]) ** 2).sum(axis=1) / (window - 1))
        if "prior" in options:
            mean, deviation = (np.concatenate(([np.nan], values[:-1])) if len(values) else values for values in (mean, deviation))
        scale = np.maximum(np.abs(wide_y), 1.0) if "log" in options else np.abs(wide_y)
        z_score = np.where(deviation > scale * FLOOR, (spread - mean) / deviation, np.nan)
    return [slope, intercept, spread, mean, deviation, z_score, correlation]


def _windows(window: int, *series: Array) -> Any:
    full = len(series[0]) - window + 1
    step = max(1, _CHUNK_NUMBERS // window)
    for start in range(0, max(0, full), step):
        stop = min(full, start + step)
        views = [sliding_window_view(values, window)[start:stop] for values in series]
        yield slice(start + window - 1, stop + window - 1), *views


def _leg(cursor: Cursor, symbol: str, timeframe: str, since_us: int, end_us: int) -> tuple[Array, Array, Array]:
    cursor.execute(_BARS, (symbol, timeframe, from_us(max(0, since_us)), from_us(end_us)))
    at, closes, gaps = zip(*rows, strict=True) if (rows := cursor.fetchall()) else ((), (), ())
    return np.array(at, dtype=np.int64), np.array(closes, dtype=np.float64), np.array(gaps, dtype=bool)


def _told(stored: tuple[Any, ...], expected: tuple[Any, ...], unsure: bool, log: bool) -> str:
    """What differs, in words; empty: nothing."""
    names = ("symbol1_price", "symbol2_price", "carried", "has_gap", *STATISTICS)
    price, deviation = abs(float(expected[0])), float(expected[names.index("rolling_std")])
    scale = max(1.0, abs(float(np.log(price)))) if log else price
    told = []
    for name, have, want in zip(names, stored, expected, strict=True):
        if name in ("carried", "has_gap"):
            differs = have != want
        elif have is None or np.isnan(want):
            at_the_floor = name in ("rolling_std", "z_score") and deviation / scale < FLOOR * 4
            differs = (have is None) != bool(np.isnan(want)) and not unsure and not at_the_floor
        else:
            unit = price if name.startswith("symbol") else scale
            differs = abs(have - want) > _tolerance(name, float(want), unit, deviation)
        if differs:
            nothing = name not in ("carried", "has_gap") and np.isnan(want)
            told.append(f"{name} {have} is {None if nothing else want}")
    return ", ".join(told)


def _tolerance(name: str, value: float, price: float, deviation: float) -> float:
    """1e-9 of the value; what is a difference of prices can't be better than rounding of the prices."""
    if name in ("intercept", "spread", "rolling_mean", "rolling_std"):
        return TOLERANCE * max(abs(value), price * 1e-6)
    if name == "z_score":
        return TOLERANCE * max(1.0, abs(value)) + 1e-14 * price / deviation
    return TOLERANCE * max(abs(value), 1e-6)
