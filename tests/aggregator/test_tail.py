"""The tail notices that the stream was emptied, though new entries have come before it looks."""

from aggregator.tail import Tail
from common.streams import START, append


def test_entries_that_follow_a_flush_do_not_hide_it(redis_client):
    tail = Tail(redis_client, "trades")
    append(redis_client, "trades", "api", "a\n", 1)
    assert tail.holds_all_up_to(START) and tail.read(0, 10)
    before = tail.position
    append(redis_client, "trades", "api", "b\n", 1)
    assert tail.read(0, 10) and tail.holds_all_up_to(before)
    before = tail.position
    redis_client.flushall()
    append(redis_client, "trades", "api", "c\n", 1)
    assert tail.read(0, 10)
    assert tail.holds_position() and not tail.holds_all_up_to(before)
