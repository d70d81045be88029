"""Laws of bars that hold for any trades: the watermark never goes back, no decimal is bent, a crash anywhere changes no table."""

from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.trades import Trade
from tests.aggregator.house import SECOND, House, each_second
from tests.aggregator.house import START_US as HOUSE_US
from tests.aggregator.test_core import START_US, TIMEFRAMES, Run, bars_by_hand, trades_of_two_symbols

#: Prices of eight decimals with sizes of 1e12, and prices of 1e5 and more: (prices, sizes).
KINDS = {
    "SHIB": (st.integers(1, 10**5).map("0.{:08d}".format), st.integers(10**12, 10**13).map("{}.25".format)),
    "BTC": (st.integers(10**5, 10**6).map("{}.37".format), st.integers(1, 10**6).map("0.{:08d}".format)),
}
TABLES = (
    "SELECT symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, revision, status"
    " FROM processed_bars ORDER BY 1, 2, 3",
    "SELECT symbol, first_id, last_id, from_us, to_us, state FROM gaps ORDER BY 1, 2",
    "SELECT DISTINCT symbol, first_us, last_us, reason FROM dirty_ranges ORDER BY 1, 2, 3",
)


@settings(max_examples=30)
@given(st.data())
def test_the_watermark_never_goes_back(data):
    feed = data.draw(st.permutations(data.draw(trades_of_two_symbols())))
    run, before = Run(), {}
    while feed:
        cut = data.draw(st.integers(1, len(feed)))
        run.feed(feed[:cut], data.draw(st.sampled_from([1, 700, 90_000])))
        feed = feed[cut:]
        if data.draw(st.booleans()):
            run.wait(data.draw(st.sampled_from([0, 5, 2_000])))
        now = run.core.watermarks()
        assert all(now[symbol] >= before.get(symbol, -1) for symbol in now) and set(now) >= set(before)
        before = now


@settings(max_examples=40)
@given(st.data())
def test_every_sum_and_every_extreme_is_exact_whatever_the_instruments_scale(data):
    trades = []
    for symbol, (prices, sizes) in KINDS.items():
        for n in range(data.draw(st.integers(1, 25))):
            price, size = data.draw(prices).rstrip("0").rstrip("."), data.draw(sizes).rstrip("0").rstrip(".")
            if Fraction(price) and Fraction(size):
                trades.append(Trade(symbol, n + 1, START_US + n * 300_000, price, size, "b"))
    run = Run()
    for at in range(0, len(trades), 7):
        run.feed(trades[at : at + 7])
    run.wait(600_000)
    for timeframe in TIMEFRAMES:
        expected = bars_by_hand(trades, timeframe)
        for key, bar in run.closed[timeframe].items():
            assert bar == expected[key] or run.marked(*key, {"1s": 1, "1m": 60, "5m": 300}[timeframe] * SECOND)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.permutations([*each_second("A", [str(100 + n % 5) for n in range(14)]), *each_second("B", ["0.00000851"] * 9)]),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_a_crash_after_any_commit_and_a_resume_give_the_same_tables(settings, redis_client, database, fed, crashes):
    """The same entries twice, from empty tables: once without a crash, once started again from the checkpoint at some."""
    tables = []
    for crashing in (False, True):
        with database, database.cursor() as cursor:
            cursor.execute("TRUNCATE raw_ticks, processed_bars, bar_revisions, gaps, dirty_ranges, checkpoints, writer_positions")
        made = House(settings.model_copy(update={"symbols": ("A", "B"), "pairs": ()}), redis_client, database)
        for crash, at in zip(crashes, range(0, len(fed), 3), strict=False):
            batch = fed[at : at + 3]
            if crashing and crash:
                made.core.on_time(made.now_ms + 5_000)  # done and not committed: lost with the process
                made.start()
            made.take(batch)
        made.quiet(1)
        first = [made.rows(query) for query in TABLES]
        made.rebuild_marks()
        made.quiet(400)
        made.rebuild_marks()
        assert made.differences() == [] and made.now_ms > HOUSE_US // 1000
        tables.append((first, [made.rows(query) for query in TABLES]))
        made.close()
    assert tables[0] == tables[1]
