"""Trimming by progress, never by length; retention; and what bars missed when memory ran out."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from common.partitions import ensure_month_leaves, ensure_tick_leaves, tick_leaf
from common.streams import GROUP, EntryId, writers_position
from common.trades import Trade
from consumer.group import WritersGroup
from consumer.housekeeping import Housekeeping
from tests.consumer.running import STREAM, hand_out, rows, send

OLD_MS = (time.time_ns() // 1_000_000) - 600_000
NODE = 100  # entries in a node of the stream: trimming drops whole ones


@pytest.fixture
def a_thousand_entries(redis_client) -> list[str]:
    """Entries that are ten minutes old, 700 of them delivered and acknowledged, all but number 400."""
    WritersGroup(redis_client, [STREAM], "worker-1").ensure()
    pipe = redis_client.pipeline()
    for n in range(1000):
        send(pipe_as_client(pipe), Trade("A", n + 1, OLD_MS * 1000 + n, "1", "1"), entry_id=f"{OLD_MS + n}-0")
    pipe.execute()
    ids = hand_out(redis_client, "worker-1", 700)
    redis_client.xack(STREAM, GROUP, *[each for n, each in enumerate(ids) if n != 400])
    return [f"{OLD_MS + n}-0" for n in range(1000)]


class pipe_as_client:
    """A pipeline whose XADD answers at once: the ids are given."""

    def __init__(self, pipe) -> None:
        self._pipe = pipe

    def xadd(self, stream, fields, id):
        self._pipe.xadd(stream, fields, id=id)
        return id.encode()


def first_kept(client) -> int:
    """Number of the oldest entry in the stream."""
    return EntryId.parse(client.xrange(STREAM, count=1)[0][0]).ms - OLD_MS


def aggregator_at(database, entry_id: str) -> None:
    ms, seq = entry_id.split("-")
    rows(
        database,
        "INSERT INTO checkpoints (shard, token, position_ms, position_seq, run_id, watermarks, state, events)"
        " VALUES (0, 1, %s, %s, '', '{}', '', '') ON CONFLICT (shard) DO UPDATE SET position_ms = excluded.position_ms",
        ms, seq,
    )  # fmt: skip


def keep_house(settings, client, database) -> None:
    Housekeeping(settings, client).do_what_is_due(database)


def test_trimming_passes_neither_a_pending_entry_nor_the_aggregator(settings, redis_client, database, a_thousand_entries):
    ids = a_thousand_entries
    keep_house(settings, redis_client, database)
    assert first_kept(redis_client) == 0, "no aggregator has ever read"
    aggregator_at(database, ids[550])
    keep_house(settings, redis_client, database)
    assert 400 - NODE <= first_kept(redis_client) <= 400, "number 400 is pending"
    redis_client.xack(STREAM, GROUP, ids[400])
    keep_house(settings, redis_client, database)
    assert 550 - NODE <= first_kept(redis_client) <= 550, "the aggregator's own last entry stays"
    aggregator_at(database, ids[999])
    keep_house(settings, redis_client, database)
    assert 699 - NODE <= first_kept(redis_client) <= 699, "the writers have not got further"
    assert redis_client.xinfo_stream(STREAM)["last-generated-id"].decode() == ids[999]


def test_the_last_minute_stays(settings, redis_client, database):
    WritersGroup(redis_client, [STREAM], "worker-1").ensure()
    for n in range(3 * NODE):
        send(redis_client, Trade("A", n, OLD_MS * 1000, "1", "1"))
    ids = hand_out(redis_client, "worker-1", 3 * NODE)
    redis_client.xack(STREAM, GROUP, *ids)
    aggregator_at(database, ids[-1])
    keep_house(settings, redis_client, database)
    assert redis_client.xlen(STREAM) == 3 * NODE


def test_past_the_high_water_mark_ticks_never_wait_for_bars(settings, redis_client, database, a_thousand_entries):
    """What the aggregator will miss is marked before it is trimmed, and marked once."""
    redis_client.xack(STREAM, GROUP, a_thousand_entries[400])
    aggregator_at(database, a_thousand_entries[100])
    redis_client.set("ballast", b"0" * (20 << 20))
    house = Housekeeping(settings.model_copy(update={"stream_high_mb": 16}), redis_client)
    house.do_what_is_due(database)
    assert 699 - NODE <= first_kept(redis_client) <= 699
    marks = rows(database, "SELECT symbol, first_us, last_us, entry_ms, doubts_memory FROM dirty_ranges")
    assert marks == [("A", OLD_MS * 1000 + 101, OLD_MS * 1000 + 699, OLD_MS + 699, True)]
    house._trim(database)
    assert len(rows(database, "TABLE dirty_ranges")) == 1, "a full Redis must not make marks for ever"


def test_below_the_high_water_mark_nothing_is_marked(settings, redis_client, database, a_thousand_entries):
    aggregator_at(database, a_thousand_entries[100])
    keep_house(settings, redis_client, database)
    assert first_kept(redis_client) <= 100 and not rows(database, "TABLE dirty_ranges")


def leaves(database, table: str) -> set[str]:
    found = rows(database, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", table)
    return {row[0] for row in found}


def test_retention_drops_whole_days_that_are_past_it_and_leaves_are_made_ahead(settings, redis_client, database):
    today = datetime.now(UTC).date()
    ensure_tick_leaves(database, [today - timedelta(days=days) for days in range(6)])
    keep_house(settings.model_copy(update={"tick_retention_days": 3}), redis_client, database)
    kept = leaves(database, "raw_ticks")
    assert {f"raw_ticks_{today - timedelta(days=days):%Y%m%d}" for days in range(-2, 4)} == kept
    this_month = f"processed_bars_{today:%Y%m}"
    assert this_month in leaves(database, "processed_bars")


def test_bars_have_a_retention_of_their_own(settings, redis_client, database):
    ensure_month_leaves(database, [date(2020, 1, 31), date(2020, 2, 1)])
    ensure_tick_leaves(database, [date(2020, 1, 31)])
    keep_house(settings, redis_client, database)
    assert {"processed_bars_202001", "processed_bars_202002"} <= leaves(database, "processed_bars"), "0 keeps all"
    keep_house(settings.model_copy(update={"bar_retention_days": 30}), redis_client, database)
    assert not {"processed_bars_202001", "spread_analytics_202002"} & (
        leaves(database, "processed_bars") | leaves(database, "spread_analytics")
    )
    assert leaves(database, "raw_ticks") >= {"raw_ticks_202001"}


def test_leaves_cover_each_stamp_once(database):
    """Days and months side by side, whatever came first: no stamp has two leaves, and each has one."""
    today = datetime.now(UTC).date()
    days = [date(2020, 1, 31), date(2020, 2, 1), date(2020, 2, 29), today, today - timedelta(days=45)]
    for day in days * 2:
        ensure_tick_leaves(database, [day])
    for day in days:
        rows(database, "INSERT INTO raw_ticks VALUES ('A', 1, %s::date, 1, 1)", day)
    assert rows(database, "SELECT count(*) FROM raw_ticks") == [(len(set(days)),)]


def test_a_month_that_was_begun_by_days_goes_on_by_days():
    today = date(2026, 6, 1)
    assert tick_leaf(date(2026, 1, 5), today, {"raw_ticks_20260104"})[0] == "raw_ticks_20260105"
    assert tick_leaf(date(2026, 1, 5), today, set())[0] == "raw_ticks_202601"
    assert tick_leaf(date(2026, 5, 5), today, set())[0] == "raw_ticks_20260505"


@pytest.mark.parametrize("call", [1, 2, 3])
def test_what_is_handed_out_while_the_position_is_read_does_not_count_as_stored(redis_client, call):
    """The position is two answers of Redis: between them a worker may get an entry that it has not stored."""

    class Meanwhile:
        calls = 0

        def __getattr__(self, name):
            self.calls += 1
            if self.calls == call:
                hand_out(redis_client, "worker-5")
            return getattr(redis_client, name)

    redis_client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    first = send(redis_client, Trade("A", 1, 1, "1", "1"))
    redis_client.xack(STREAM, GROUP, *hand_out(redis_client, "worker-5"))
    second = send(redis_client, Trade("A", 2, 1, "1", "1"))
    assert EntryId.parse(first) <= writers_position(Meanwhile(), STREAM) < EntryId.parse(second)
