"""The walk as a tape: stored first, gone on with, never lost."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from common.settings import Settings
from ops.exchange.walk import LARGEST_PAST, WalkTape

NOW_US = 1_767_225_600_000_000


def tape(folder: Path, now_us: int = NOW_US, **wanted: object) -> WalkTape:
    return WalkTape(Settings.from_env({}, **({"sim_rate": 300, "history": "0"} | wanted)), folder, now_us)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk: writes past that size fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_disk_that_refuses_costs_no_trade(tmp_path: Path) -> None:
    walking = tape(tmp_path)
    sent = walking.advance(NOW_US + 1_000_000)
    with files_no_larger_than(5000), pytest.raises(OSError, match="too large"):
        while True:
            sent += walking.advance(NOW_US + 2_000_000)
    sent += walking.advance(NOW_US + 2_000_000)
    sent += walking.advance(NOW_US + 3_000_000)
    for symbol in walking.symbols:
        rows = np.concatenate([rows for name, rows in sent if name == symbol])
        assert (np.diff(rows["id"]) == 1).all()
        assert [fill.id for fill in walking.fills(symbol, 0, 10_000)] == rows["id"].tolist()


def test_start_goes_on_from_the_stored_trades(tmp_path: Path) -> None:
    before = tape(tmp_path)
    before.advance(NOW_US + 2_000_000)
    last = before.fills("ETHUSDT", None, 1)[0]
    before.close()
    after = tape(tmp_path, NOW_US + 60_000_000, history="10m")
    after.advance(NOW_US + 61_000_000)
    following = after.fills("ETHUSDT", last.id + 1, 1)[0]
    assert following.id == last.id + 1 and following.time_us >= NOW_US + 60_000_000
    assert float(following.price) == pytest.approx(float(last.price), rel=1e-3)


def test_a_pause_of_the_clock_leaves_a_hole_in_time_and_none_in_ids(tmp_path: Path) -> None:
    walking = tape(tmp_path)
    walking.advance(NOW_US + 1_000_000)
    last = walking.fills("BTCUSDT", None, 1)[0]
    walking.advance(NOW_US + 3600_000_000)
    walking.advance(NOW_US + 3602_000_000)
    following = walking.fills("BTCUSDT", last.id + 1, 1)[0]
    assert following.id == last.id + 1 and following.time_us >= NOW_US + 3600_000_000


def test_past_of_the_first_start_is_as_long_as_asked_and_bounded(tmp_path: Path) -> None:
    made = tape(tmp_path / "a", history="2m", sim_rate=30).fills("BTCUSDT", 0, 1)[0]
    assert NOW_US - 121_000_000 < made.time_us < NOW_US - 118_000_000
    rate = 200_000
    bounded = tape(tmp_path / "b", history="1h", sim_rate=rate).fills("BTCUSDT", 0, 1)[0]
    assert bounded.time_us >= NOW_US - LARGEST_PAST / rate * 1e6


def test_quote_is_price_times_size_to_the_last_digit(tmp_path: Path) -> None:
    walking = tape(tmp_path)
    walking.advance(NOW_US + 1_000_000)
    for fill in walking.fills("BTCUSDT", None, 100):
        price, size, quote = (int(text.replace(".", "")) for text in (fill.price, fill.size, fill.quote))
        assert price * size == quote * 10**8
