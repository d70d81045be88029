"""Entries that can not be read: one dead letter each, with a reason, and nothing else waits for them."""

import pytest

from common.columns import FEW_ROWS, read_entries
from common.judge import Limits
from common.streams import GROUP, to_entry
from consumer.group import WritersGroup
from tests.consumer.running import STREAM, a_writer, hand_out, pending, rows, send, wait
from tests.consumer.test_writer import stored_ids, trade

LETTERS = "SELECT entry_id, row_number, field, reason, payload FROM dead_letters ORDER BY id"
UNREADABLE = [
    ({"hello": "world"}, "the entry has no field rows", "hello=world"),
    ({"v": 1, "n": 3, "src": "binance.trade"}, "the entry has no field rows", "v=1 n=3 src=binance.trade"),
    ({"v": 2, "n": 1, "rows": "A;1"}, "v must be 1, was '2': an entry of another version of this program", "v=2 n=1 rows=A;1"),
    ({"v": 1, "n": 3, "rows": ""}, "rows is empty and n is '3'", "v=1 n=3 rows="),
    ({"x": b"\0\xff"}, "the entry has no field rows", "x=\\x00�"),
]


@pytest.mark.parametrize("fields, reason, payload", UNREADABLE)
def test_an_unreadable_entry_is_one_dead_letter_and_once(settings, redis_client, database, fields, reason, payload):
    """Delivered twice; its neighbours are stored."""
    WritersGroup(redis_client, [STREAM], "worker-1").ensure()
    send(redis_client, trade(1))
    entry_id = redis_client.xadd(STREAM, fields).decode()
    send(redis_client, trade(2))
    with a_writer(settings):
        wait(lambda: stored_ids(database) == [1, 2] and pending(redis_client) == 0, "neighbours")
    redis_client.xgroup_setid(STREAM, GROUP, "0")
    hand_out(redis_client, "worker-1", 3)
    with a_writer(settings):
        wait(lambda: pending(redis_client) == 0, "acknowledged again")
    assert rows(database, LETTERS) == [(entry_id, 0, "entry", reason, payload)]
    assert rows(database, "TABLE dirty_ranges") == []


def test_an_entry_that_says_it_has_no_rows_is_no_dead_letter(settings, redis_client, database):
    redis_client.xadd(STREAM, {"v": 1, "n": 0, "src": "binance.trade", "rows": ""})
    with a_writer(settings):
        send(redis_client, trade(1))
        wait(lambda: stored_ids(database) == [1], "stored")
    assert rows(database, LETTERS) == []


@pytest.mark.parametrize("holder", ["worker-1", "worker-7"])
def test_an_entry_that_was_deleted_in_somebodys_hands_is_a_dead_letter(settings, redis_client, database, holder):
    WritersGroup(redis_client, [STREAM], "worker-1").ensure()
    entry_id = send(redis_client, trade(1))
    hand_out(redis_client, holder)
    redis_client.xclaim(STREAM, GROUP, holder, 0, [entry_id], idle=int(settings.claim_after_s * 1000) + 1000)
    redis_client.xdel(STREAM, entry_id)
    with a_writer(settings):
        wait(lambda: rows(database, LETTERS) and pending(redis_client) == 0, "letter")
    assert [row[:3] for row in rows(database, LETTERS)] == [(entry_id, 0, "entry")]


@pytest.mark.parametrize("count", [1, FEW_ROWS * 2])
def test_both_ways_of_reading_see_it(count):
    good = {b"v": b"1", b"n": b"1", b"src": b"binance.trade", b"rows": b""}
    good[b"rows"] = b"".join([b"A,%d,2026-01-02T03:04:05.000000Z,1,1,b,\n" % n for n in range(count)])
    entries = [to_entry(b"1767322999999-0", good), to_entry(b"1767323000000-0", {b"n": b"1"}), to_entry(b"1767323000001-0", good)]
    batch = read_entries(entries, Limits(0, 0))
    assert (len(batch.columns), [(row.entry, row.field) for row in batch.dead]) == (2 * count, [(1, "entry")])
