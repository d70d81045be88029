"""A gap is closed by the trade that fills it, whatever its stamp says."""

import pytest

from tests.aggregator.house import SECOND, START_US, House, each_second


@pytest.mark.parametrize("off_s", [0, -30, 30])
def test_a_trade_that_is_stamped_beside_its_gap_closes_it(house: House, off_s: int) -> None:
    trades = each_second("A", ["1"] * 100)
    house.take([*trades[:50], *trades[52:]])
    house.quiet(400)
    house.rebuild_marks()
    assert house.rows("SELECT first_id, last_id, state FROM gaps") == [(51, 52, "open")]
    house.take([trade._replace(event_us=trade.event_us + off_s * SECOND) for trade in trades[50:52]])
    for _ in range(2):
        house.rebuild_marks()
    assert house.rows("SELECT state FROM gaps") == [("closed",)]
    assert house.differences() == [] == house.rows("SELECT 1 FROM processed_bars WHERE status = 'gap'")


@pytest.mark.parametrize("looked_at", [True, False], ids=["its mark was rebuilt", "its mark waits"])
def test_a_trade_that_overtook_others_leaves_no_gap(house: House, looked_at: bool) -> None:
    """They come before their bar closes: it needs no rebuild, but its gap was written down."""
    trades = [trade._replace(event_us=START_US + trade.trade_id) for trade in each_second("A", ["1"] * 100)]
    house.take([*trades[:50], *trades[52:60]])
    if looked_at:
        house.rebuild_marks()
    assert house.rows("SELECT first_id, last_id, state FROM gaps") == [(51, 52, "open")]
    house.take(trades[50:51])
    house.rebuild_marks()
    assert house.rows("SELECT first_id, last_id, state FROM gaps") == [(52, 52, "open")]
    house.take(trades[49:52])
    house.rebuild_marks()
    assert house.rows("SELECT state FROM gaps") == [("closed",)]
    house.quiet(400)
    assert house.differences() == [] == house.rows("SELECT 1 FROM processed_bars WHERE status = 'gap'")
    assert house.rows("SELECT 1 FROM dirty_ranges") == []
