"""A quiet market is left alone; a subscription that is silent while there is trade is told apart and named."""

from itertools import pairwise

from producer.flow import Flow
from producer.quiet import GRACE_S, RARELY, SETTLE_S, Quiet

STALE_S = 60.0


def flow(symbol: str = "A") -> Flow:
    made = Flow(symbol, "binance.trade", "trades")
    made.last_id = 5
    return made


def asked_at(quiet: Quiet, seconds: range) -> list[int]:
    return [second for second in seconds if quiet.look(float(second)).ask]


def test_a_symbol_that_is_heard_is_not_asked_about():
    heard = flow()
    quiet = Quiet([heard], STALE_S)
    quiet.connected(0.0, again=True)
    for second in range(300):
        heard.heard_s = float(second)
        assert quiet.look(float(second)) == ([], [])


def test_a_quiet_market_is_asked_about_less_and_less():
    quiet = Quiet([flow()], STALE_S)
    quiet.connected(0.0, again=False)
    times = asked_at(quiet, range(6000))
    steps = [later - before for before, later in pairwise(times)]
    assert times[0] == 60 and steps[0] in (120, 121) and max(steps) <= STALE_S * RARELY + 1 and steps[-1] >= STALE_S * RARELY


def test_trades_that_only_rest_has_tell_a_silent_subscription():
    silent = flow()
    quiet = Quiet([silent], STALE_S)
    quiet.connected(0.0, again=False)
    assert quiet.look(STALE_S).ask == [silent]
    silent.fetched += 3
    assert quiet.look(STALE_S + 1).silent == []
    assert quiet.look(STALE_S + 1 + GRACE_S).silent == [silent]


def test_trades_that_the_connection_brings_a_moment_later_tell_nothing():
    late = flow()
    quiet = Quiet([late], STALE_S)
    quiet.connected(0.0, again=False)
    assert quiet.look(STALE_S).ask == [late]
    late.fetched += 3
    assert quiet.look(STALE_S + 1).silent == []
    late.heard_s = STALE_S + 1.5
    assert all(quiet.look(STALE_S + second).silent == [] for second in range(2, 50))


def test_after_a_reconnection_what_was_missed_is_fetched_and_blames_nobody():
    missed = flow()
    quiet = Quiet([missed], STALE_S)
    quiet.connected(0.0, again=True)
    assert quiet.look(SETTLE_S - 0.1).ask == [] and quiet.look(SETTLE_S).ask == [missed]
    missed.fetched += 9
    assert all(quiet.look(SETTLE_S + second) == ([], []) for second in range(1, 50))


def test_a_flow_that_catches_up_is_waited_for():
    busy = flow()
    quiet = Quiet([busy], STALE_S)
    quiet.connected(0.0, again=False)
    assert quiet.look(STALE_S).ask == [busy]
    busy.begin()
    assert asked_at(quiet, range(61, 500)) == []
    busy.end()
    assert quiet.look(500.0) == ([], []) and asked_at(quiet, range(501, 800)) == [620]


def test_one_is_asked_about_at_a_time():
    flows = [flow(name) for name in "ABC"]
    quiet = Quiet(flows, STALE_S)
    quiet.connected(0.0, again=True)
    assert [len(quiet.look(SETTLE_S + second).ask) for second in range(6)] == [1, 1, 1, 0, 0, 0]
