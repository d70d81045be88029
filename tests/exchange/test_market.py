"""Laws of the random walks and of Binance's aggregation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.tsa.stattools import coint

from ops.exchange.aggregate import Rows, aggregate_ids, aggregates
from ops.exchange.instruments import decimal_text, decimal_texts, instrument_of
from ops.exchange.market import Market, leaders, line_of

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PAIRS = ("BTCUSDT_ETHUSDT",)
START_US = 1_700_000_000_000_000


def traded(seconds: int, rate: float = 30.0, seed: int = 1, step_us: int = 1_000_000) -> dict[str, Rows]:
    lines = [line_of(instrument_of(symbol), 1000) for symbol in SYMBOLS]
    market = Market(lines, leaders(SYMBOLS, PAIRS), rate, seed, START_US)
    parts: dict[str, list[Rows]] = {symbol: [] for symbol in SYMBOLS}
    while market.now_us < START_US + seconds * 1_000_000:
        for symbol, rows in market.advance(market.now_us + step_us):
            parts[symbol].append(rows)
    return {symbol: np.concatenate(found) for symbol, found in parts.items()}


def closes(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Seconds with a trade, and the last price in each."""
    seconds = rows["time_us"] // 1_000_000
    lasts = np.flatnonzero(np.diff(seconds, append=-1))
    return seconds[lasts], rows["price"][lasts].astype(float)


def test_same_seed_gives_same_trades_and_another_seed_others() -> None:
    first, again, other = traded(20), traded(20), traded(20, seed=2)
    assert all(np.array_equal(first[symbol], again[symbol]) for symbol in SYMBOLS)
    assert not np.array_equal(first["BTCUSDT"], other["BTCUSDT"])


@pytest.mark.parametrize("step_us", [10_000, 333_333, 5_000_000])
def test_ids_are_contiguous_and_time_never_decreases_at_any_step(step_us: int) -> None:
    for rows in traded(20, rate=300, step_us=step_us).values():
        assert np.array_equal(rows["id"], np.arange(1000, 1000 + len(rows)))
        assert set(np.diff(rows["agg_id"])) <= {0, 1}
        assert (np.diff(rows["time_us"]) >= 0).all()
        assert (rows["price"] > 0).all() and (rows["size"] > 0).all()


def test_pair_is_cointegrated_and_the_third_symbol_is_not_part_of_it() -> None:
    made = traded(2400)
    (y_seconds, y), (x_seconds, x) = closes(made["BTCUSDT"]), closes(made["ETHUSDT"])
    _, in_y, in_x = np.intersect1d(y_seconds, x_seconds, return_indices=True)
    assert coint(y[in_y], x[in_x], maxlag=5, autolag=None)[1] < 0.05


@pytest.mark.parametrize("rate", [30.0, 100_000.0])
def test_rate_is_met_and_every_symbol_trades_in_every_second(rate: float) -> None:
    seconds = 300 if rate < 1000 else 3
    made = traded(seconds, rate)
    assert sum(map(len, made.values())) == pytest.approx(rate * seconds, rel=0.1)
    for rows in made.values():
        assert len(np.unique(rows["time_us"] // 1_000_000)) == seconds


def test_low_rates_are_met_too() -> None:
    assert sum(map(len, traded(3600, rate=0.5).values())) == pytest.approx(1800, rel=0.15)


def test_trades_come_in_bursts_of_one_order_at_one_stamp() -> None:
    rows = traded(300)["BTCUSDT"]
    assert (np.diff(rows["time_us"]) == 0).mean() > 0.3
    assert 0.4 < len(aggregates(rows)) / len(rows) < 0.9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=40))
def test_aggregate_is_what_one_order_filled_at_one_price(fills: list[tuple[int, int, int]]) -> None:
    orders, prices, sizes = (np.array(column, np.int64) for column in zip(*sorted(fills, key=lambda fill: fill[0]), strict=True))
    rows = traded(5)["BTCUSDT"][:1].repeat(len(orders))
    rows["id"], rows["price"], rows["size"] = np.arange(len(rows)), prices, sizes
    rows["agg_id"] = aggregate_ids(orders, prices, 7)
    made = aggregates(rows)
    assert np.array_equal(made["agg_id"], np.arange(7, 7 + len(made)))
    assert np.array_equal(made["first_id"][1:], made["last_id"][:-1] + 1)
    assert made["size"].sum() == sizes.sum()
    for agg in made:
        inside = slice(agg["first_id"], agg["last_id"] + 1)
        assert set(orders[inside]) == {orders[agg["first_id"]]} and set(prices[inside]) == {agg["price"]}


def test_restart_far_from_the_start_prices_anchors_the_pair_anew() -> None:
    made = traded(5)
    lasts = {symbol: rows[-1].copy() for symbol, rows in made.items()}
    lasts["BTCUSDT"]["price"] *= 2
    lines = [line_of(instrument_of(symbol), 1, lasts[symbol]) for symbol in SYMBOLS]
    market = Market(lines, leaders(SYMBOLS, PAIRS), 30, 1, START_US)
    rows = next(rows for symbol, rows in market.advance(START_US + 1_000_000) if symbol == "BTCUSDT")
    assert rows["price"][0] == pytest.approx(lasts["BTCUSDT"]["price"], rel=1e-3)


@given(st.integers(0, 10**15), st.integers(0, 8))
def test_decimal_text_of_many_is_that_of_each(count: int, decimals: int) -> None:
    assert decimal_texts([count], decimals) == [decimal_text(count, decimals)]


def test_unknown_symbol_has_a_price_on_a_grid_of_its_own() -> None:
    instrument = instrument_of("NEWCOINUSDT")
    assert instrument == instrument_of("NEWCOINUSDT")
    assert instrument.start_ticks >= 10_000 and instrument.base == "NEWCOIN"
