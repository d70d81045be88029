"""How the two legs are put side by side (docs/decisions/0013), as it is stored."""

import pytest

from common.trades import Trade, from_us
from tests.aggregator.house import SECOND, START_US, each_second
from tests.aggregator.test_pair_series import ab, checked, feed, registry

ROWS = """
SELECT timestamp, symbol1_price, symbol2_price, carried, has_gap, hedge_ratio, rolling_std, return_correlation, spread
FROM spread_analytics WHERE timeframe = '1s' AND method = %s ORDER BY timestamp
"""


def two(a: list[str], b: list[str]) -> list[Trade]:
    return sorted(each_second("A", a) + each_second("B", b), key=lambda trade: trade.event_us)


def seconds(rows: list) -> list[int]:
    return [int(row[0].timestamp()) - START_US // SECOND for row in rows]


def test_a_leg_is_carried_up_to_the_limit_and_the_row_says_which(house):
    """The limit is 20 s. B is away for 30 s, A for 3 s."""
    a = [str(100 + n % 7) if n not in (3, 4, 5) else "" for n in range(50)]
    b = [str(50 + n % 5) if not 10 < n < 41 else "" for n in range(50)]
    feed(house, two(a, b))
    house.quiet(5)
    rows = house.rows(ROWS, "ols")
    assert seconds(rows) == [n for n in range(50) if not 30 < n < 41]
    assert {n: row[3] for n, row in zip(seconds(rows), rows, strict=True) if row[3]} == {
        **dict.fromkeys((3, 4, 5), "y"), **dict.fromkeys(range(11, 31), "x")
    }  # fmt: skip
    assert {row[2] for row in rows if row[3] == "x"} == {50}
    assert checked(house, ab()).changed == 0


def test_rows_begin_with_the_first_bar_that_both_have(house):
    feed(house, two([str(100 + n) for n in range(20)], ["" if n in (0, 1, 2, 3, 5) else str(50 + n) for n in range(20)]))
    house.quiet(5)
    assert seconds(house.rows(ROWS, "ols"))[0] == 4


@pytest.mark.parametrize("method", ["ols+strict", "tls+prior+strict", "huber+strict", "kalman+log+strict"])
def test_strict_leaves_out_every_window_that_holds_a_row_with_a_gap(house, method):
    """Trade 21 of A is missing: the bars of the ids around it have status gap, and so have the rows that use them."""
    registry(house, ab(method), ab(method.removesuffix("+strict")))
    a = [str(100 + n * 3 % 7) for n in range(60)]
    trades = [trade for trade in two(a, [str(50 + n * 5 % 11) for n in range(60)]) if trade[:2] != ("A", 21)]
    feed(house, trades, restarts=6)
    house.quiet(5)
    house.rebuild_marks()
    rows, plain = house.rows(ROWS, method), house.rows(ROWS, method.removesuffix("+strict"))
    gaps = [n for n, row in zip(seconds(rows), rows, strict=True) if row[4]]
    assert gaps == [19, 20, 21] == [n for n, row in zip(seconds(plain), plain, strict=True) if row[4]], "each row says it"
    window = 5
    for n, strict, loose in zip(seconds(rows), rows, plain, strict=True):
        held = any(n - window < gap <= n for gap in gaps)
        reach = 2 * window - 1 + ("prior" in method)
        assert (strict[5] is None) == (held or n < window - 1), n
        assert loose[5] is not None or n < window - 1
        assert (strict[6] is None) == (any(n - reach < gap <= n for gap in gaps) or n < reach - 1), n
        if not method.startswith("kalman") and not held and n >= window:
            assert strict[5] == pytest.approx(loose[5], rel=1e-12)
    assert checked(house, ab(method)).changed == 0


def test_a_gap_that_is_filled_frees_the_rows_by_a_revision(house):
    registry(house, ab("ols+strict"))
    trades = two([str(100 + n * 3 % 7) for n in range(40)], [str(50 + n * 5 % 11) for n in range(40)])
    feed(house, [trade for trade in trades if trade[:2] != ("A", 21)])
    house.quiet(5)
    house.rebuild_marks()
    assert any(row[4] for row in house.rows(ROWS, "ols+strict"))
    house.take([trade for trade in trades if trade[:2] == ("A", 21)])
    for _ in range(3):
        house.rebuild_marks()
    rows = house.rows(ROWS, "ols+strict")
    assert not any(row[4] for row in rows) and all(row[5] is not None for row in rows[4:])
    kept = house.rows(
        "SELECT timestamp, hedge_ratio FROM spread_revisions WHERE method = 'ols+strict' AND has_gap ORDER BY revision"
    )
    assert kept and {row[1] for row in kept} == {None} and kept[0][0] <= from_us(START_US + 21 * SECOND)
    assert checked(house, ab("ols+strict")).changed == 0
