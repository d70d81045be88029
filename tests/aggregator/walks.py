"""Prices for tests of pair statistics."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
#: What a price may be that is a mistake.
BAD_PRINT = 1e9


def walk(seed: int, count: int, bad_at: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Prices in cents of a cointegrated pair (y, x); y may have one price of 1e9."""
    rng = np.random.default_rng(seed)
    x = np.round(2300 + rng.normal(0, 0.5, count).cumsum(), 2)
    y = np.round(18.5 * x + 40 + rng.normal(0, 3, count), 2)
    if bad_at is not None:
        y[bad_at] = BAD_PRINT
    return y, x


def small_moves(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cents on 100,000: the case in which running sums are off by 1e-7."""
    rng = np.random.default_rng(seed)
    return (
        np.round(99_000 + rng.integers(-2, 3, count).cumsum() * 0.01, 2),
        np.round(100_000 + rng.integers(-2, 3, count).cumsum() * 0.01, 2),
    )


def starts(count: int, step_s: int = 60) -> np.ndarray:
    """Bar starts."""
    return np.arange(count) * (step_s * 1_000_000)


def shared_path(name: str) -> Path:
    """A file of the shared data; the test is skipped where it is not there."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real data is not checked: {path} is not there")
    return path


def candles(name: str) -> dict[int, float]:
    """Closes of a kline file by open time in milliseconds."""
    content = shared_path(f"klines/{name}").read_bytes()
    text = (zstandard.decompress(content) if name.endswith(".zst") else content).decode()
    rows = csv.reader(io.StringIO(text))
    return {int(row[0]): float(row[4]) for row in rows if row[0].isdigit()}


def common_candles(y_name: str, x_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Closes of two files at the times that both have, and these times in microseconds."""
    y, x = candles(y_name), candles(x_name)
    times = sorted(y.keys() & x.keys())
    return np.array([y[t] for t in times]), np.array([x[t] for t in times]), np.array(times) * 1000
