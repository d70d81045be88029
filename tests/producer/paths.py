"""Shared example messages and real market files beside the repository; absent on a bare clone."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
HALF_DAY = "trades/binance_spot_BTCUSDT_aggTrades_2024-01-01_00-12h.csv.zst"
HALF_DAY_ROWS = 344_377


def fixture(name: str) -> bytes:
    """A sample message."""
    return _existing(SHARED / "fixtures" / name).read_bytes()


def market_file(name: str) -> Path:
    """A file of real trades."""
    return _existing(SHARED / "data" / name)


def _existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there: this check needs the shared market files")
    return path
