"""Law 4 for pairs: live, in pieces, resumed or recomputed, the rows are the same; and they know nothing of what comes later."""

from itertools import pairwise

import numpy as np
import pytest

from aggregator.pairmath import NAMES, Rolling, Statistics, batch, state_rows
from common.pairmethod import PairMethod
from tests.aggregator.walks import BAD_PRINT, starts, walk

NOTHING = np.zeros(0)
NO_STARTS = np.zeros(0, dtype=np.int64)
METHODS = ("ols", "tls", "kalman", "huber", "kalman+log", "ols+log+prior")


def whole(text: str, window: int, y: np.ndarray, x: np.ndarray, starts_us: np.ndarray) -> Statistics:
    return batch(PairMethod.parse(text), window, y, x, starts_us, NOTHING, len(y))[0]


def table(found: Statistics) -> np.ndarray:
    return np.array([getattr(found, name) for name in NAMES])


def assert_same(found: np.ndarray, expected: np.ndarray, window: int) -> None:
    """To 1e-12 of the largest value that the window has seen (a half-life, a quotient of differences of those: to 1e-10).

    Both are (names, rows).
    """
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    for name, ours, theirs in zip(NAMES, found, expected, strict=True):
        largest = np.array([np.nanmax(np.abs(theirs[max(0, t - 2 * window) : t + 1]), initial=0) for t in range(len(theirs))])
        off = np.abs(ours - theirs) / np.maximum(largest, 1e-3)
        assert np.nanmax(off, initial=0) <= (1e-10 if name == "half_life" else 1e-12), (name, np.nanargmax(off))


@pytest.mark.parametrize("text", METHODS)
@pytest.mark.parametrize("window", [3, 7, 40])
def test_one_by_one_or_all_at_once_batch_gives_the_same_bits(text, window):
    y, x = walk(5, 2 * window + 40, bad_at=30)
    times, method = starts(len(y), 3600), PairMethod.parse(text)
    expected = table(whole(text, window, y, x, times))
    for cuts in (range(len(y) + 1), sorted({0, 1, 17, window + 3, len(y)})):
        spreads, state, parts = NOTHING, None, []
        for start, end in pairwise(cuts):
            context = slice(max(0, start - window), end)
            found, states = batch(method, window, y[context], x[context], times[context], spreads, end - start, state)
            spreads, state = np.append(spreads, found.spread), state_rows(states, end - start)[-1]
            parts.append(table(found))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


def test_long_histories_are_worked_on_in_pieces_with_the_same_bits(monkeypatch):
    y, x = walk(6, 400)
    expected = [table(whole(text, 30, y, x, starts(400))) for text in METHODS]
    monkeypatch.setattr("aggregator.pairmath.windows._CHUNK_NUMBERS", 300)
    for text, one in zip(METHODS, expected, strict=True):
        np.testing.assert_array_equal(table(whole(text, 30, y, x, starts(400))), one)


@pytest.mark.parametrize("text", METHODS)
@pytest.mark.parametrize("window", [3, 4, 5, 12, 61])
def test_live_rows_are_those_of_a_recomputation(text, window):
    """Seven pairs: each misses bars of its own, is loaded again now and then, and slots step in any order."""
    rng = np.random.default_rng(window)
    method, count, pairs = PairMethod.parse(text), 3 * window + 60, 7
    prices = [walk(seed, count) for seed in range(pairs)]
    times = starts(count, 1800)
    rolling = Rolling(method, window, 2)
    rolling.grow(pairs + 1)
    slots = rng.permutation(pairs + 1)[:pairs]
    for slot in slots:
        rolling.load(int(slot), NOTHING, NOTHING, NOTHING, NO_STARTS)
    rows: list[list[int]] = [[] for _ in range(pairs)]
    found: list[list[np.ndarray]] = [[] for _ in range(pairs)]
    states: list[list[float] | None] = [None] * pairs
    for t in range(count):
        going = rng.permutation(np.flatnonzero(rng.random(pairs) < (0.9 if t % 20 else 0.2)))
        if t % 7 == 3:
            going = np.arange(pairs)[np.argsort(slots)]  # neighbours, as most often
        answer, after = rolling.step(
            slots[going], np.array([prices[pair][0][t] for pair in going]), np.array([prices[pair][1][t] for pair in going]),
            np.full(len(going), times[t]),
        )  # fmt: skip
        for pair, values, state in zip(going, table(answer).T, state_rows(after, len(going)), strict=True):
            rows[pair].append(t)
            found[pair].append(values)
            states[pair] = state
        if t % 13 == 12:  # a restart: from the stored rows alone
            pair = t % pairs
            y, x = (leg[rows[pair]] for leg in prices[pair])
            spreads = np.array([values[NAMES.index("spread")] for values in found[pair]])
            rolling.load(int(slots[pair]), y, x, spreads, times[rows[pair]], states[pair])
    for pair in range(pairs):
        y, x = (leg[rows[pair]] for leg in prices[pair])
        assert_same(np.array(found[pair]).T, table(whole(text, window, y, x, times[rows[pair]])), window)


@pytest.mark.parametrize("text", ["ols", "ols+log", "tls", "kalman"])
def test_wide_windows_and_bad_prints_lose_nothing(text):
    window, count = 700, 2_500
    y, x = walk(3, count)
    for at in (0, 699, 1_396, 1_450):
        y[at] = BAD_PRINT if text != "tls" else y[at] * 1.01
    times = starts(count, 10)
    rolling = Rolling(PairMethod.parse(text), window, 1)
    rolling.load(0, NOTHING, NOTHING, NOTHING, NO_STARTS)
    slot = np.zeros(1, dtype=np.int64)
    found = [table(rolling.step(slot, y[t : t + 1], x[t : t + 1], times[t : t + 1])[0])[:, 0] for t in range(count)]
    kept = np.r_[0:count:40, 1_390:1_460]
    expected = table(whole(text, window, y, x, times))
    np.testing.assert_allclose(np.array(found).T[:, kept], expected[:, kept], rtol=1e-9, atol=1e-12 * BAD_PRINT)
    clean = 2_200  # no bad print in the window, nor in the windows of its spreads
    np.testing.assert_allclose(np.array(found).T[:, clean:], expected[:, clean:], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("text", [*METHODS, "huber+log+prior"])
@pytest.mark.parametrize("at", [70, 119, 139])
def test_later_prices_never_change_an_earlier_row(text, at):
    y, x = walk(11, 140)
    before = whole(text, 20, y, x, starts(140)).rows()
    y[at:] *= 1.5
    x[at:] = 7.0
    after = whole(text, 20, y, x, starts(140)).rows()
    assert before[:at] == after[:at] and before[at:] != after[at:]


@pytest.mark.parametrize("text", METHODS)
def test_a_row_left_out_empties_the_windows_that_hold_it(text):
    """NaN stands for the prices of a row that a strict method leaves out."""
    window, method = 9, PairMethod.parse(text)
    y, x = walk(4, 80)
    y[40] = np.nan
    expected = whole(text, window, y, x, starts(80))
    assert np.isnan(expected.hedge_ratio[40:49]).all() and not np.isnan(expected.hedge_ratio[49:]).any()
    assert not np.isnan(expected.z_score[49 + window :]).any()
    rolling = Rolling(method, window, 1)
    rolling.load(0, NOTHING, NOTHING, NOTHING, NO_STARTS)
    slot = np.zeros(1, dtype=np.int64)
    found = [table(rolling.step(slot, y[t : t + 1], x[t : t + 1], starts(80)[t : t + 1])[0])[:, 0] for t in range(80)]
    assert_same(np.array(found).T, table(expected), window)


def test_a_window_of_two_is_refused():
    with pytest.raises(ValueError, match="window must be at least 3, was 2"):
        Rolling(PairMethod(), 2, 1)
