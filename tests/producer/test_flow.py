"""A symbol's trades pass in the order of their ids, each once, behind whatever had to be fetched."""

from hypothesis import given
from hypothesis import strategies as st

from common.trades import Trade
from producer.flow import Flow, Verdict


def trade(trade_id: int, event_us: int | None = None) -> Trade:
    return Trade("BTCUSDT", trade_id, trade_id * 10 if event_us is None else event_us, "1", "1", "b")


def flow(last_id: int | None = None) -> Flow:
    made = Flow("BTCUSDT", "binance.trade", "trades")
    made.last_id, made.last_us = last_id, (last_id or 0) * 10
    return made


def test_the_first_trade_passes_where_no_history_is_wanted():
    assert flow().offer(trade(5)) is Verdict.PASS


def test_what_follows_passes_and_what_was_seen_does_not():
    sequence = flow(5)
    assert [sequence.offer(trade(n)) for n in (6, 7, 6, 7, 8)] == [
        Verdict.PASS, Verdict.PASS, Verdict.REPEAT, Verdict.REPEAT, Verdict.PASS,
    ]  # fmt: skip


def test_a_jump_waits_for_what_is_missing():
    sequence = flow(5)
    assert sequence.offer(trade(9)) is Verdict.JUMP
    assert sequence.offer(trade(10)) is Verdict.HELD
    assert sequence.missing() == (6, 8)
    assert sequence.take_run() == []
    assert [sequence.passed(trade(n)) for n in (6, 7, 7, 8)] == [True, True, False, True]
    assert sequence.take_run() == [trade(9), trade(10)]
    assert sequence.end() and sequence.offer(trade(11)) is Verdict.PASS


def test_it_stays_catching_while_something_is_held():
    sequence = flow(5)
    sequence.offer(trade(9))
    assert not sequence.end() and sequence.offer(trade(10)) is Verdict.HELD


def test_a_venue_that_counts_anew_is_followed():
    sequence = flow(1000)
    assert sequence.offer(trade(3, event_us=20_000)) is Verdict.PASS
    assert sequence.offer(trade(4, event_us=20_001)) is Verdict.PASS


def test_what_the_venue_does_not_have_can_be_given_up():
    sequence = flow(5)
    sequence.offer(trade(9))
    sequence.skip_to_held()
    assert sequence.take_run() == [trade(9)] and sequence.end()


@given(st.lists(st.integers(1, 30), max_size=80))
def test_any_arrival_gives_each_id_once_and_in_order(ids):
    """REST is asked for exactly what is said to be missing, whenever a jump is told."""
    sequence, out = flow(0), []
    for trade_id in ids:
        verdict = sequence.offer(trade(trade_id))
        if verdict is Verdict.PASS:
            out.append(trade_id)
        while sequence.catching:
            first, last = sequence.missing() or (1, 0)
            out += [n for n in range(first, last + 1) if sequence.passed(trade(n))]
            out += [held.trade_id for held in sequence.take_run()]
            sequence.end()
    assert out == list(range(1, max(ids, default=0) + 1))
