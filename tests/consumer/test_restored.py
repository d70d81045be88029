"""PostgreSQL is restored from an older copy, the group in Redis is not: what the stream holds is stored, the rest is a gap."""

import time
from collections.abc import Sequence

import pytest

from common.codec import encode_rows
from common.columns import read_entries
from common.gaps import Gap
from common.judge import Limits
from common.settings import Settings
from common.streams import START, Entry, EntryId, last_delivered
from common.trades import Trade
from consumer.group import Committed, WritersGroup, done_key
from consumer.restored import Run, gaps_between
from consumer.store import TickStore
from consumer.worker import committed
from tests.consumer.running import STREAM, a_writer, pending, rows, send, wait
from tests.consumer.test_writer import stored_ids

SECOND = 1_000_000
START_US = time.time_ns() // 1000 - 60 * SECOND
GAPS = "SELECT symbol, first_id, last_id, from_us, to_us, state FROM gaps ORDER BY first_id, symbol"
MARKS = "SELECT min(first_us), max(last_us), bool_and(doubts_memory), min(entry_ms), min(entry_seq) FROM dirty_ranges"
COPIED = ("raw_ticks", "writer_positions")


class Hand:
    """A worker that does what the test says, step by step."""

    def __init__(self, client, database, number: int) -> None:
        self.client, self.name = client, f"worker-{number}"
        self.group = WritersGroup(client, [STREAM], self.name)
        self.store = TickStore(database, self.name)

    def take(self, count: int) -> list[Entry]:
        return self.group.read_new(count, 1)[STREAM]

    def finish(self, entries: Sequence[Entry]) -> None:
        """Commit, then acknowledge."""
        done = self.store.store(STREAM, entries, read_entries(entries, Limits(0, 0)))
        self.group.ack(STREAM, entries, done.of_worker)


@pytest.fixture
def hands(redis_client, database) -> list[Hand]:
    made = [Hand(redis_client, database, number) for number in (1, 2)]
    made[0].group.ensure()
    return made


def trade(n: int, symbol: str = "A") -> Trade:
    return Trade(symbol, n, START_US + n * SECOND, "1", "1", "b")


def copy(database) -> None:
    for table in COPIED:
        rows(database, f"CREATE TABLE copy_of_{table} AS TABLE {table}")


def restore(database) -> None:
    """As the copy has it."""
    for table in COPIED:
        rows(database, f"DELETE FROM {table}; INSERT INTO {table} TABLE copy_of_{table}")  # noqa: S608


def run_a_writer(settings: Settings, client, database, reached: int) -> None:
    with a_writer(settings, 1):
        wait(lambda: len(stored_ids(database)) >= reached and pending(client) == 0, f"{reached} stored")


def test_what_the_slower_worker_had_done_between_the_copies_positions_is_stored_again(settings, redis_client, database, hands):
    """The faster worker's position is past it, so positions alone say that nothing is missing."""
    fast, slow = hands
    ids = [send(redis_client, trade(n)) for n in range(1, 9)]
    fast.finish(fast.take(2))
    held = slow.take(2)
    fast.finish(fast.take(4))
    copy(database)
    slow.finish(held)
    assert last_delivered(redis_client, STREAM) == EntryId.parse(ids[7])
    restore(database)
    assert stored_ids(database) == [1, 2, 5, 6, 7, 8]
    run_a_writer(settings, redis_client, database, 8)
    assert stored_ids(database) == list(range(1, 9)) and rows(database, GAPS) == []
    assert rows(database, MARKS) == [(START_US + SECOND, START_US + 8 * SECOND, True, *EntryId.parse(ids[7]))]


def test_an_old_entry_that_was_taken_over_after_the_copy_is_stored_again(settings, redis_client, database, hands):
    """No position changes with it."""
    one, dead = hands
    for n in range(1, 6):
        send(redis_client, trade(n))
    dead.take(2)
    one.finish(one.take(3))
    copy(database)
    for entries in one.group.claim(STREAM, 0, 10):
        one.finish(entries)
    restore(database)
    run_a_writer(settings, redis_client, database, 5)
    assert stored_ids(database) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_that_was_done_since_the_copy_is_stored_again_and_the_group_is_at_its_end(
    settings, redis_client, database, hands, workers
):  # fmt: skip
    last = [send(redis_client, trade(n)) for n in range(1, 11)][-1]
    for hand in hands[:workers]:
        hand.finish(hand.take(2))
    copy(database)
    for _ in range(3):
        for hand in hands[:workers]:
            for entries in hand.group.read_new(2, 1).values():
                hand.finish(entries)
    restore(database)
    run_a_writer(settings, redis_client, database, 10)
    assert str(last_delivered(redis_client, STREAM)) == last and stored_ids(database) == list(range(1, 11))


def test_an_empty_postgresql_gets_all_that_the_stream_holds(settings, redis_client, database, hands):
    for n in range(1, 6):
        send(redis_client, trade(n))
    hands[0].finish(hands[0].take(5))
    for table in COPIED:
        rows(database, f"DELETE FROM {table}")  # noqa: S608
    run_a_writer(settings, redis_client, database, 5)
    assert stored_ids(database) == [1, 2, 3, 4, 5]


def test_what_the_stream_no_longer_holds_is_a_gap_and_its_bars_are_marked(settings, redis_client, database, hands):
    """Trimmed: 3 and 4, between the workers' positions; and 9, 10, after both."""
    fast, slow = hands
    for n in range(1, 11):
        send(redis_client, trade(n), trade(n, "B"))
    fast.finish(fast.take(2))
    held = slow.take(2)
    fast.finish(fast.take(4))
    copy(database)
    slow.finish(held)
    fast.finish(fast.take(2))
    later = send(redis_client, trade(11))
    fast.finish(fast.take(1))
    redis_client.xtrim(STREAM, minid=later, approximate=False)
    sparse = [trade(1, "SPARSE")._replace(trade_id=n) for n in (1_000, 9_000)]
    fields = {"v": 1, "n": 2, "src": "api.trade", "rows": encode_rows(sparse)}
    redis_client.xadd(STREAM, fields)
    restore(database)
    rows(database, "INSERT INTO sources (symbol, src) VALUES ('B', 'binance.trade')")
    with a_writer(settings, 1):
        wait(lambda: rows(database, "SELECT 1 FROM raw_ticks WHERE trade_id = 9_000") and pending(redis_client) == 0, "all read")
    of_a = rows(database, "SELECT trade_id FROM raw_ticks WHERE symbol = 'A' ORDER BY 1")
    assert of_a == [(n,) for n in (1, 2, 5, 6, 7, 8, 11)]
    us = [START_US + n * SECOND for n in range(12)]
    assert rows(database, GAPS) == [
        ("A", 3, 4, us[2], us[5], "open"), ("B", 3, 4, us[2], us[5], "open"), ("A", 9, 10, us[8], us[11], "open"),
    ]  # fmt: skip
    covered = rows(database, "SELECT 1 FROM dirty_ranges WHERE symbol = 'B' AND first_us <= %s AND last_us >= %s", us[3], us[4])
    assert covered


def test_a_crash_while_the_damage_is_noted_leads_there_again(settings, redis_client, database, hands):
    for n in range(1, 4):
        send(redis_client, trade(n))
    hands[0].finish(hands[0].take(1))
    copy(database)
    hands[0].finish(hands[0].take(2))
    restore(database)
    rows(database, "ALTER TABLE dirty_ranges RENAME TO away")
    with a_writer(settings, 1):
        wait(lambda: last_delivered(redis_client, STREAM) == START, "group set back")
        assert redis_client.exists(done_key(STREAM))
    rows(database, "ALTER TABLE away RENAME TO dirty_ranges")
    run_a_writer(settings, redis_client, database, 3)
    assert rows(database, "SELECT count(*) > 0 FROM dirty_ranges") == [(True,)]


def test_a_restart_without_a_restore_reads_nothing_again(settings, redis_client, database, hands):
    for n in range(1, 6):
        send(redis_client, trade(n))
    hands[0].finish(hands[0].take(3))
    hands[1].finish(hands[1].take(2))
    with a_writer(settings, 1):
        send(redis_client, trade(6))
        wait(lambda: len(stored_ids(database)) == 6 and pending(redis_client) == 0, "stored")
    assert rows(database, "SELECT sum(repeated)::int FROM writer_positions") == [(0,)]
    assert rows(database, "TABLE dirty_ranges") == []


def test_without_counts_what_was_acknowledged_behind_the_positions_tells_a_restore(redis_client, hands):
    """A Redis whose counts are gone: an entry behind all positions that nobody has any more was acknowledged."""
    first, second, third = (EntryId.parse(send(redis_client, trade(n))) for n in range(3))
    hands[0].take(1)
    redis_client.xack(STREAM, "writers", str(first))
    hands[1].take(2)
    known = {"worker-1": Committed(first, 1)}
    assert not hands[0].group.is_ahead(STREAM, lambda: known), "the others are in the second worker's hands"
    redis_client.xack(STREAM, "writers", str(third))
    assert hands[0].group.is_ahead(STREAM, lambda: known)
    assert not hands[0].group.is_ahead(STREAM, lambda: {**known, "worker-2": Committed(third, 1)})
    assert pending(redis_client) == 1 and second < third


@pytest.mark.parametrize("counted", [True, False])
def test_what_another_worker_commits_during_the_look_is_no_restore(redis_client, database, hands, counted):
    """It commits and acknowledges each time that PostgreSQL has just been asked."""
    one, other = hands
    for n in range(1, 9):
        send(redis_client, trade(n))
    one.finish(one.take(2))
    held = [other.take(2), other.take(2)]

    def told() -> dict[str, Committed]:
        found = committed(database, STREAM)
        if held:
            other.finish(held.pop(0))
            if not counted:
                redis_client.delete(done_key(STREAM))
        return found

    assert not one.group.is_ahead(STREAM, told)
    other.finish(other.take(2))
    rows(database, "UPDATE writer_positions SET position_seq = 0, position_ms = 0, stored = 0")
    assert one.group.is_ahead(STREAM, told)


def test_ids_within_a_longer_run_end_nothing():
    runs = [Run(1, 10, 10, 100), Run(3, 5, 30, 50), Run(12, 13, 120, 130), Run(12, 12, 120, 120)]
    assert gaps_between("A", runs) == [Gap("A", 11, 11, 100, 120)]
    assert gaps_between("A", [*runs, Run(11, 11, 110, 110)]) == []
