"""Statistics of bars equal their exact values on the same window, whatever went through it before."""

import math
import random
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.pricestats import FIELDS, NAMES, Windows, statistics_of

TOLERANCE = 1e-9


def exact_root(value: Fraction) -> Fraction:
    with localcontext() as context:
        context.prec = 60
        return Fraction((Decimal(value.numerator) / Decimal(value.denominator)).sqrt())


def exact_log(value: Fraction) -> Fraction:
    with localcontext() as context:
        context.prec = 60
        return Fraction((Decimal(value.numerator) / Decimal(value.denominator)).ln())


def exact_row(bars: list[tuple[float, ...]], window: int) -> dict[str, Fraction | None]:
    """The statistics of the last bar, in rational numbers."""
    rows = [dict(zip(FIELDS, map(Fraction, bar), strict=True)) for bar in bars[-window - 1 :]]
    last, inside = rows[-1], rows[-window:]
    moves = [(new["close"] - old["close"]) / old["close"] for old, new in pairwise(rows)]
    logs = [exact_log(1 + move) for move in moves]
    ranges = [
        max(new["high"], old["close"]) - min(new["low"], old["close"]) for old, new in pairwise(rows)
    ]
    found: dict[str, Fraction | None] = dict.fromkeys(NAMES)
    found["price_change_pct"] = (last["close"] - last["open"]) / last["open"] * 100
    found["high_low_range"] = last["high"] - last["low"]
    if moves:
        found["returns"], found["log_return"] = moves[-1], logs[-1]
    if len(inside) == window:
        volume, bought = sum(row["volume"] for row in inside), sum(row["taker_buy_volume"] for row in inside)
        highest = max(row["close"] for row in inside)
        found["volume_ma"] = volume / window
        found["vwap"] = sum(row["quote_volume"] for row in inside) / volume
        found["taker_imbalance"] = (2 * bought - volume) / volume if bought else None
        found["drawdown"] = (last["close"] - highest) / highest
    if len(moves) == window:
        mean = sum(moves) / window
        variance = sum((move - mean) ** 2 for move in moves) / (window - 1)
        squares = sum(log**2 for log in logs)
        found["volatility"] = exact_root(variance) if variance else None
        found["realised_volatility"] = exact_root(squares) if squares else None
        found["atr"] = sum(ranges) / window
    return found


def assert_is_exact(found: np.ndarray, bars: list[tuple[float, ...]], window: int) -> None:
    for name, value, wanted in zip(NAMES, found.tolist(), exact_row(bars, window).values(), strict=True):
        if wanted is None:
            assert math.isnan(value), name
        else:
            assert math.isfinite(value), name
            assert abs(Fraction(value) - wanted) <= Fraction(TOLERANCE) * abs(wanted), (name, value, float(wanted))


def walk(count: int, seed: int, outlier_at: int | None = None, tick: float = 0.01) -> list[tuple[float, ...]]:
    """Bars of a random walk on a grid; the outlier is a bar at a billion."""
    rng, level, bars = random.Random(seed), 4_300_000, []
    for n in range(count):
        opens = level
        level += rng.randint(-300, 300)
        high, low = max(opens, level) + rng.randint(0, 90), min(opens, level) - rng.randint(0, 90)
        prices = [value * tick for value in (opens, high, low, level)]
        if n == outlier_at:
            prices[1] = prices[3] = 1e9
        volume = rng.randint(1, 10**9) / 1e8
        bars.append((*prices, volume, volume * prices[3], volume * rng.random(), 0.0))
    return bars


def followed(bars: list[tuple[float, ...]], window: int, steps: list[int]) -> np.ndarray:
    """The live way: so many bars at a time."""
    windows, at, found = Windows(window), 0, []
    slot = windows.add_slots(1)[0]
    for step in steps:
        columns = np.array(bars[at : at + step]).T
        found.append(windows.follow(np.full(columns.shape[1], slot), columns)[0])
        at += step
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("window", [2, 5, 20])
def test_every_step_of_a_walk_is_exact_also_after_an_outlier_of_a_billion(window):
    bars = walk(120, seed=window, outlier_at=40)
    found = followed(bars, window, [1] * len(bars))
    for n in range(len(bars)):
        assert_is_exact(found[:, n], bars[: n + 1], window)


def test_the_smallest_moves_of_a_large_price_keep_their_digits():
    bars = [(close, close, close, close, 1.0, close, 0.5, 0.0) for close in (100_000 + n % 3 * 2**-16 for n in range(60))]
    found = followed(bars, 20, [60])
    for n in range(60):
        assert_is_exact(found[:, n], bars[: n + 1], 20)


def test_a_small_deviation_of_large_returns_keeps_its_digits():
    closes = [100.0]
    for n in range(59):
        closes.append(closes[-1] * (1.01 + n % 5 * 1e-8))
    bars = [(close, close, close, close, 1.0, close, 0.5, 0.0) for close in closes]
    found = followed(bars, 20, [60])
    for n in range(60):
        assert_is_exact(found[:, n], bars[: n + 1], 20)


def test_what_does_not_move_has_no_deviation_and_a_zero_is_a_zero():
    flat = [(7.1, 7.1, 7.1, 7.1, 1.0, 7.1, 0.0, 0.0)] * 30
    last = dict(zip(NAMES, followed(flat, 20, [30])[:, -1].tolist(), strict=True))
    missing = {name for name, value in last.items() if math.isnan(value)}
    assert missing == {"volatility", "realised_volatility", "taker_imbalance"}
    zeros = {name for name, value in last.items() if value == 0}
    assert zeros == {"returns", "log_return", "price_change_pct", "high_low_range", "atr", "drawdown"}


def test_prices_of_any_size_give_finite_numbers_or_none():
    closes = [1e-30, 1e30, 3e-38, 9e37, 1.0, 1e-8, 1e20]
    bars = [(close, close, close, close, 1e30, close * 1e30, 1.0, 0.0) for close in closes * 4]
    found = followed(bars, 3, [1] * 28)
    assert not np.isinf(found).any()
    assert np.isfinite(found[:, 4:]).all()
    assert found[NAMES.index("log_return"), 1] == pytest.approx(60 * math.log(10), rel=1e-15)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(2, 12), st.integers(0, 50))
def test_rows_are_the_same_bits_however_the_bars_come(steps, window, seed):
    bars = walk(sum(steps), seed)
    at_once = followed(bars, window, [len(bars)])
    assert followed(bars, window, steps).tobytes() == at_once.tobytes()
    cut = len(bars) // 2
    if cut < len(bars):
        context = np.array(bars[max(0, cut - window) : cut]).reshape(-1, len(FIELDS)).T
        tail, _ = statistics_of(np.array(bars[cut:]).T, context, window)
        assert tail.tobytes() == np.ascontiguousarray(at_once[:, cut:]).tobytes()


@given(st.integers(0, 10_000))
def test_series_do_not_see_each_other(seed):
    rng, window = random.Random(seed), 4
    series = {name: walk(rng.randint(1, 12), seed=name) for name in range(rng.randint(1, 5))}
    windows = Windows(window)
    slots = dict(zip(rng.sample(range(5), 5), windows.add_slots(5), strict=True))
    found: dict[int, list[np.ndarray]] = {name: [] for name in series}
    waiting = {name: list(bars) for name, bars in series.items()}
    while any(waiting.values()):
        parts = {}
        for name, bars in waiting.items():
            count = rng.choice([0, 1, 1, 1, 3])
            parts[name], waiting[name] = bars[:count], bars[count:]
        parts = {name: part for name, part in parts.items() if part}
        if not parts:
            continue
        order = np.concatenate([np.full(len(part), slots[name]) for name, part in parts.items()])
        values, _ = windows.follow(order, np.array([bar for part in parts.values() for bar in part]).T)
        at = 0
        for name, part in parts.items():
            found[name].append(values[:, at : at + len(part)])
            at += len(part)
    for name, pieces in found.items():
        alone = followed(series[name], window, [len(series[name])])
        assert np.concatenate(pieces, axis=1).tobytes() == alone.tobytes()


def test_a_gap_is_told_by_every_row_that_used_its_bar():
    bars = [(*bar[:7], float(n == 10)) for n, bar in enumerate(walk(40, seed=3))]
    windows = Windows(5)
    _, gaps = windows.follow(np.full(40, windows.add_slots(1)[0]), np.array(bars).T)
    assert np.flatnonzero(gaps).tolist() == list(range(10, 16)), "W bars, and the close before them"


def test_a_long_history_is_computed_in_bounded_pieces(monkeypatch):
    bars = walk(300, seed=9)
    whole = followed(bars, 10, [300])
    monkeypatch.setattr("aggregator.pricestats._CHUNK_NUMBERS", 70)
    assert followed(bars, 10, [300]).tobytes() == whole.tobytes()
