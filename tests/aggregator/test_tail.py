"""The tail takes bounded pieces, and notices that the stream was emptied though new entries have come before it looks."""

from aggregator import service
from aggregator.tail import Tail
from common.codec import encode_rows
from common.streams import START, EntryId, append
from tests.aggregator.house import each_second
from tests.aggregator.running import an_aggregator
from tests.consumer.running import rows, wait


def test_entries_that_follow_a_flush_do_not_hide_it(redis_client):
    tail = Tail(redis_client, "trades", 1_000)
    append(redis_client, "trades", "api", "a\n", 1)
    assert tail.holds_all_up_to(START) and tail.read(1)
    before = tail.position
    append(redis_client, "trades", "api", "b\n", 1)
    assert tail.read(1) and tail.holds_all_up_to(before)
    before = tail.position
    redis_client.flushall()
    later = f"{before.ms + 1}-0"  # Redis flushes and appends within a millisecond: that would give an id below the position
    redis_client.xadd("trades", {"v": 1, "n": 1, "src": "api", "rows": "c\n"}, id=later)
    assert tail.read(1)
    assert tail.holds_position() and not tail.holds_all_up_to(before)


def test_time_stands_while_an_entry_is_unread(redis_client):
    """A quiet symbol's bars close by Redis' time: not before what has come by then was looked at."""
    tail = Tail(redis_client, "trades", 1_000)
    first = append(redis_client, "trades", "api", "a\n", 1)
    assert tail.quiet_until_ms() is None
    assert tail.read(1)
    assert tail.quiet_until_ms() >= EntryId.parse(first).ms
    append(redis_client, "trades", "api", "b\n", 1)
    assert tail.quiet_until_ms() is None


def test_more_than_a_piece_waits_for_the_next_read(redis_client):
    """Many small entries, then many full ones: the first read of those brings far more than was asked for."""
    tail = Tail(redis_client, "trades", 1_000)
    for _ in range(60):
        append(redis_client, "trades", "api", "a\n", 1)
    while tail.read(1):
        pass
    for _ in range(100):
        append(redis_client, "trades", "api", "b\n" * 1_000, 1_000)
    pieces = []
    while entries := tail.read(1):
        pieces.append(sum(entry.rows.count(b"\n") for entry in entries))
        assert tail.is_behind or sum(pieces) == 100_000
    assert sum(pieces) == 100_000 and max(pieces) <= 40_000


def test_the_aggregator_doubts_as_it_reads_and_not_at_its_next_look(settings, redis_client, database, monkeypatch):
    """A flush with new entries right behind it, in one step of Redis."""
    monkeypatch.setattr(service, "LOOK_S", 3600.0)
    trades = each_second("A", ["1"] * 20)
    with an_aggregator(settings.model_copy(update={"symbols": ("A",), "pairs": ()})):
        append(redis_client, "trades", "api", encode_rows(trades[:10]), 10)
        wait(lambda: rows(database, "SELECT 1 FROM checkpoints WHERE position_ms > 0"), "position", 60)
        with redis_client.pipeline(transaction=True) as at_once:
            at_once.flushall()
            append(at_once, "trades", "api", encode_rows(trades[10:]), 10)
            at_once.execute()
        doubted = "SELECT 1 FROM dirty_ranges WHERE reason = 'the stream was emptied or changed'"
        wait(lambda: rows(database, doubted), "marks of the doubt", 60)
