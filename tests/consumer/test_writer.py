"""A writer against the real Redis and PostgreSQL: acknowledged after commit, nothing lost, whoever died or was restored."""

import contextlib
import time

import psycopg2
import pytest

from common.columns import to_columns
from common.database import connect_database
from common.streams import GROUP, EntryId, last_delivered
from common.trades import US_PER_DAY, Trade
from consumer.group import Committed, WritersGroup, done_key
from consumer.missed import Forgotten
from tests.consumer.running import STREAM, a_writer, hand_out, locked, pending, rows, send, wait

NOW_US = time.time_ns() // 1000
BLOCK_COMMIT = """
CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER held AFTER INSERT OR UPDATE ON writer_positions DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION wait_for_the_test();
"""
WAITING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

MARKS = "SELECT symbol, first_us, last_us, entry_ms, doubts_memory FROM dirty_ranges ORDER BY first_us"
KILL_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'gems w%' AND datname = current_database()
"""


def trade(trade_id: int, price: str = "1", event_us: int = NOW_US) -> Trade:
    return Trade("A", trade_id, event_us, price, "1", "b")


@pytest.fixture
def group(redis_client) -> WritersGroup:
    made = WritersGroup(redis_client, [STREAM], "worker-1")
    made.ensure()
    return made


def stored_ids(database) -> list[int]:
    return [row[0] for row in rows(database, "SELECT trade_id FROM raw_ticks ORDER BY trade_id")]


def enter_commit(redis_client, database, *trades) -> None:
    """A writer takes these trades, and is held by the test in their COMMIT."""
    wait(lambda: last_delivered(redis_client, STREAM) is not None, "group")
    send(redis_client, *trades)
    wait(lambda: rows(database, WAITING) == [(1,)], "writer inside its COMMIT")


def test_ack_happens_only_after_commit(settings, redis_client, database):
    #  XREADGROUP ── COPY ── COMMIT ....held by the test.... ── XACK
    rows(database, BLOCK_COMMIT + "SELECT pg_advisory_lock(42)")
    with a_writer(settings):
        enter_commit(redis_client, database, trade(1))
        time_to_be_wrong_s = time.monotonic() + 0.1
        while time.monotonic() < time_to_be_wrong_s:
            assert pending(redis_client) == 1
        rows(database, "SELECT pg_advisory_unlock(42)")
        wait(lambda: pending(redis_client) == 0, "acknowledgement")
        assert stored_ids(database) == [1]
    assert rows(database, MARKS) == []


def test_what_redis_forgets_during_the_commit_is_marked(settings, redis_client, database):
    """Nobody else can know: the stream is empty, and nothing is pending."""
    rows(database, BLOCK_COMMIT + "SELECT pg_advisory_lock(42)")
    with a_writer(settings):
        enter_commit(redis_client, database, trade(1), trade(2, event_us=NOW_US + 5), trade(3, event_us=NOW_US - US_PER_DAY))
        redis_client.flushall()
        rows(database, "SELECT pg_advisory_unlock(42)")
        wait(lambda: len(rows(database, MARKS)) == 2, "marks")
        send(redis_client, trade(4))
        wait(lambda: stored_ids(database) == [1, 2, 3, 4], "stored")
    days = [("A", NOW_US - US_PER_DAY, NOW_US - US_PER_DAY), ("A", NOW_US, NOW_US + 5)]
    assert rows(database, MARKS) == [(*day, 0, True) for day in days]


def test_marks_that_fail_are_made_when_the_writer_starts_over(settings, redis_client, database):
    rows(database, BLOCK_COMMIT + "SELECT pg_advisory_lock(42)")
    with a_writer(settings):
        enter_commit(redis_client, database, trade(1))
        redis_client.flushall()
        rows(database, "ALTER TABLE dirty_ranges RENAME TO away")
        rows(database, "SELECT pg_advisory_unlock(42)")
        wait(lambda: stored_ids(database) == [1], "stored")
        wait(lambda: int(redis_client.hget(done_key(STREAM), "worker-1") or 0) == 1, "acknowledgement that came to nothing")
        rows(database, "ALTER TABLE away RENAME TO dirty_ranges")
        wait(lambda: rows(database, MARKS) == [("A", NOW_US, NOW_US, 0, True)], "marks, though nothing more comes")


def test_what_is_to_be_marked_is_kept_until_it_is(settings, database):
    forgotten = Forgotten()
    forgotten.note(STREAM, to_columns([trade(1)], [0]))
    with contextlib.closing(connect_database(settings, "test")) as away:
        away.close()
        with pytest.raises(psycopg2.Error):
            forgotten.mark(away)
    for _ in range(2):
        forgotten.mark(database)
        assert rows(database, MARKS) == [("A", NOW_US, NOW_US, 0, True)]


def test_own_pending_entries_come_before_new_ones(settings, redis_client, database, group):
    """Both entries hold the same trade: the one that is stored first decides its price."""
    send(redis_client, trade(1, "100"))
    hand_out(redis_client, "worker-1")
    send(redis_client, trade(1, "200"), trade(2))
    with a_writer(settings):
        wait(lambda: pending(redis_client) == 0 and len(stored_ids(database)) == 2, "all stored")
    assert rows(database, "SELECT price FROM raw_ticks WHERE trade_id = 1") == [(100,)]


def test_an_entry_committed_but_not_acknowledged_is_stored_once(settings, redis_client, database, group):
    send(redis_client, trade(1))
    with a_writer(settings):
        wait(lambda: stored_ids(database) == [1], "stored")
        wait(lambda: pending(redis_client) == 0, "acknowledged")
    redis_client.xgroup_setid(STREAM, GROUP, "0")
    hand_out(redis_client, "worker-1")
    with a_writer(settings):
        wait(lambda: pending(redis_client) == 0, "acknowledged again")
    assert rows(database, "SELECT stored, repeated FROM writer_positions") == [(1, 1)]
    assert stored_ids(database) == [1] and not rows(database, "TABLE dirty_ranges")


def test_entries_of_a_dead_worker_are_taken_over_and_those_of_a_living_one_are_not(settings, redis_client, database, group):
    send(redis_client, trade(1))
    (left,) = hand_out(redis_client, "worker-7")
    redis_client.xclaim(STREAM, GROUP, "worker-7", 0, [left], idle=int(settings.claim_after_s * 1000) + 1000)
    send(redis_client, trade(2))
    (held,) = hand_out(redis_client, "worker-8")
    with a_writer(settings):
        send(redis_client, trade(3))
        wait(lambda: stored_ids(database) == [1, 3] and pending(redis_client) == 1, "taken over")
    assert redis_client.xpending_range(STREAM, GROUP, "-", "+", 10)[0]["message_id"].decode() == held


def test_in_normal_work_the_group_stays_where_it_is(redis_client, group):
    ids = [send(redis_client, trade(n)) for n in range(1, 6)]
    handed = hand_out(redis_client, "worker-1", 2) + hand_out(redis_client, "worker-2", 2)
    redis_client.xack(STREAM, GROUP, handed[0], handed[1])
    redis_client.hset(done_key(STREAM), "worker-1", "2")
    both = {"worker-1": Committed(EntryId.parse(ids[1]), 2), "worker-2": Committed(EntryId(0, 0), 0)}
    assert not group.is_ahead(STREAM, lambda: both)
    assert not group.is_ahead(STREAM, lambda: {"worker-1": Committed(EntryId.parse(ids[4]), 9)})
    assert str(last_delivered(redis_client, STREAM)) == ids[3]


def test_a_flushed_redis_is_worked_with_again(settings, redis_client, database):
    with a_writer(settings):
        wait(lambda: last_delivered(redis_client, STREAM) is not None, "group")
        send(redis_client, trade(1))
        wait(lambda: stored_ids(database) == [1], "stored")
        redis_client.flushall()
        send(redis_client, trade(2))
        wait(lambda: stored_ids(database) == [1, 2] and pending(redis_client) == 0, "group made again")


def test_a_lost_session_is_replaced(settings, redis_client, database):
    with a_writer(settings):
        send(redis_client, trade(1))
        wait(lambda: stored_ids(database) == [1], "stored")
        assert rows(database, KILL_SESSION) == [(True,)]
        send(redis_client, trade(2))
        wait(lambda: stored_ids(database) == [1, 2] and pending(redis_client) == 0, "stored by a new session")
    assert not rows(database, "TABLE dead_letters")


def test_an_outage_longer_than_the_claim_time_makes_no_dead_letter(settings, redis_client, database, group):
    """PostgreSQL takes no tick for that long: entries go from worker to worker and back, and are stored when it does."""
    hasty = settings.model_copy(update={"claim_after_s": 0.5})
    owners: dict[bytes, list[bytes]] = {}

    def came_back() -> bool:
        for each in redis_client.xpending_range(STREAM, GROUP, "-", "+", 100):
            of_entry, owner = owners.setdefault(each["message_id"], []), each["consumer"]
            if of_entry[-1:] != [owner]:
                of_entry.append(owner)
                rows(database, KILL_SESSION)  # who waited starts over, with its own pending entries first
        return any(len(of_entry) >= 4 for of_entry in owners.values())

    for n in range(10):
        send(redis_client, trade(2 * n), trade(2 * n + 1))
    with contextlib.ExitStack() as writers:
        with locked(hasty, "raw_ticks"):
            writers.enter_context(a_writer(hasty, 1))
            wait(lambda: pending(redis_client) == 10, "a writer that has all")
            writers.enter_context(a_writer(hasty, 2))
            wait(came_back, "entries that were taken over, and over again", 60)
            assert pending(redis_client) == 10 and not stored_ids(database)
        wait(lambda: pending(redis_client) == 0, "acknowledgements", 60)
    assert stored_ids(database) == list(range(20)) and not rows(database, "TABLE dead_letters")


def test_what_nobody_can_store_is_a_dead_letter_with_its_reason_and_place(settings, redis_client, database):
    good = "A,{},2026-01-02T03:04:05.000000Z,1,1,b,\n"
    body = "no row\n" + good.format(1) + "A,2,2026-01-02T03:04:05.000000Z,0,1,b,\n" + good.format(3) + "A,4\0,x,1,1,b,\n"
    redis_client.xadd(STREAM, {"v": 1, "n": 5, "src": b"odd\0source", "rows": body})
    with a_writer(settings):
        wait(lambda: stored_ids(database) == [1, 3], "good rows stored")
    letters = rows(database, "SELECT row_number, field, reason, src FROM dead_letters ORDER BY row_number")
    assert [(number, field) for number, field, *_ in letters] == [(0, "row"), (2, "price"), (4, "trade_id")]
    assert letters[1][2] == "price must be above 0, was '0'" and letters[1][3] == "odd\\x00source"


def test_a_read_that_brings_more_than_a_transaction_is_to_have_is_stored_whole(settings, redis_client, database, group):
    """The worker's own entries, of a run before: ten are asked for at a time, of which each fills a transaction."""
    small = settings.model_copy(update={"commit_rows": 10, "batch_rows": 1})
    for first in range(0, 300, 30):
        send(redis_client, *[trade(trade_id) for trade_id in range(first, first + 30)])
    hand_out(redis_client, "worker-1", 10)
    with a_writer(small):
        wait(lambda: pending(redis_client) == 0, "all entries acknowledged")
    assert stored_ids(database) == list(range(300))
