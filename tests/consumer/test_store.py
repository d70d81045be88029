"""Rows into the real `raw_ticks`: identity is (symbol, UTC day, trade_id), and whoever diverges from the stream marks."""

import time
from datetime import UTC, date, datetime

import pytest

from common.columns import Batch, read_entries
from common.judge import Limits
from common.partitions import drop_leaves_before, ensure_tick_leaves
from common.streams import Entry
from common.trades import US_PER_DAY, Trade, to_us
from consumer.store import Stored, TickStore
from tests.consumer.running import STREAM, entry, rows

LIMITS = Limits(0, 0)
NOW_US = time.time_ns() // 1000
NOON_US = NOW_US - NOW_US % US_PER_DAY - US_PER_DAY // 2  # yesterday
MARKS = "SELECT symbol, first_us, last_us, doubts_memory FROM dirty_ranges ORDER BY first_us"


def trade(trade_id: int, event_us: int = NOON_US, price: str = "1", symbol: str = "A", **more) -> Trade:
    return Trade(symbol, trade_id, event_us, price, **{"size": "1", "side": "b", **more})


@pytest.fixture
def store(database) -> TickStore:
    return TickStore(database, "worker-9")


def put(store: TickStore, *batches: list[Trade], more: str = "") -> Stored:
    entries: list[Entry] = [entry(n, trades, more) for n, trades in enumerate(batches)]
    batch: Batch = read_entries(entries, LIMITS)
    return store.store(STREAM, entries, batch)._replace(of_worker=0)


def test_new_trades_are_stored_and_repeated_ones_counted(store, database):
    assert put(store, [trade(1), trade(2)], [trade(3)]) == Stored(3, 0, 0)
    assert put(store, [trade(2), trade(3), trade(4), trade(4)]) == Stored(1, 3, 0)
    assert rows(database, "SELECT stored, repeated, dead FROM writer_positions") == [(4, 3, 0)]
    assert rows(database, MARKS) == []


def test_the_same_id_on_another_day_or_of_another_symbol_is_another_trade(store, database):
    put(store, [trade(7)])
    assert put(store, [trade(7, NOON_US - US_PER_DAY), trade(7, symbol="B"), trade(7)]) == Stored(2, 1, 0)
    assert rows(database, MARKS) == []


@pytest.mark.parametrize("midnight_us", [to_us(datetime(2020, 2, 29, tzinfo=UTC)), to_us(datetime(2020, 3, 1, tzinfo=UTC))])
def test_in_the_leaf_of_an_old_month_a_trade_is_one_of_its_day(store, database, midnight_us):
    put(store, [trade(7, midnight_us - 1), trade(7, midnight_us)])
    assert put(store, [trade(7, midnight_us - 5), trade(7, midnight_us + 5), trade(8, midnight_us)]) == Stored(1, 2, 0)
    leaves = {row[0] for row in rows(database, "SELECT DISTINCT tableoid::regclass::text FROM raw_ticks")}
    assert leaves <= {"raw_ticks_202002", "raw_ticks_202003"}
    assert rows(database, "SELECT count(*) FROM raw_ticks WHERE trade_id = 7") == [(2,)]


@pytest.mark.parametrize(
    "other",
    [
        {"price": "2"}, {"size": "2"}, {"side": "s"}, {"event_us": NOON_US + 5_000_000}, {"event_us": NOON_US - 5_000_000},
        {"seq": 3},
    ],
    ids=["price", "size", "side", "later", "earlier", "seq"],
)  # fmt: skip
def test_a_copy_that_lost_with_other_values_marks_both_its_places(store, database, other):
    put(store, [trade(7)])
    assert put(store, [trade(7, **other), trade(8)]) == Stored(1, 1, 0)
    stamps = sorted({NOON_US, other.get("event_us", NOON_US)})
    assert rows(database, MARKS) == [("A", stamps[0], stamps[-1], True)]


def test_a_copy_that_lost_within_its_own_transaction_marks_too(store, database):
    assert put(store, [trade(7, price="1")], [trade(7, price="2")]) == Stored(1, 1, 0)
    assert rows(database, "SELECT price FROM raw_ticks") == [(1,)]
    assert rows(database, MARKS) == [("A", NOON_US, NOON_US, True)]


def test_losers_of_several_days_are_marked_once_all_that_was_read_with_them_is_stored(store, database):
    days = [NOON_US - 2 * US_PER_DAY, NOON_US - US_PER_DAY, NOON_US]
    put(store, [trade(7, us) for us in days])
    entries = [entry(0, [trade(8)]), entry(1, [trade(7, us, price="2") for us in days]), entry(2, [trade(9)])]
    store.store(STREAM, entries, read_entries(entries, LIMITS))
    newest = entries[-1].id
    assert rows(database, MARKS) == [("A", us, us, True) for us in days]
    assert rows(database, "SELECT DISTINCT entry_ms, entry_seq FROM dirty_ranges") == [(newest.ms, newest.seq)]


def test_a_decimal_written_otherwise_is_the_same_copy(store, database):
    put(store, [trade(7, price="1.5")])
    put(store, [trade(7, price="1.50"), trade(8)])
    assert rows(database, MARKS) == []


def test_rows_that_postgresql_refuses_become_dead_letters_at_their_own_place(store, database):
    """Dead rows of the judge between them must not shift the numbers; and the rest is stored."""
    ensure_tick_leaves(database, [datetime.fromtimestamp(NOON_US / 1e6, UTC).date()])
    rows(database, "ALTER TABLE raw_ticks ADD CONSTRAINT unlucky CHECK (price <> 13)")
    trades = [trade(n, price="13" if n in (0, 7, 8, 49) else "1") for n in range(50)]
    bad = trade(99, price="0")
    counts = put(store, [bad, *trades[:8], bad], trades[8:])
    assert counts == Stored(46, 0, 6)
    letters = rows(database, "SELECT split_part(entry_id, '-', 2)::int, row_number FROM dead_letters ORDER BY 1, 2")
    assert letters == [(0, 0), (0, 1), (0, 8), (0, 9), (1, 0), (1, 41)]
    assert rows(database, "SELECT count(*), min(price) FROM raw_ticks") == [(46, 1)]
    assert len(rows(database, MARKS)) == 4


def test_a_letter_is_unique_by_entry_and_row(store, database):
    broken = entry(0, [], "no row\n")
    for _ in range(2):
        store.store(STREAM, [broken], read_entries([broken], LIMITS))
    assert rows(database, "SELECT count(*) FROM dead_letters") == [(1,)]


def test_a_leaf_that_retention_dropped_under_the_store_is_made_again(store, database):
    put(store, [trade(1)])
    assert drop_leaves_before(database, "raw_ticks", date(2999, 1, 1))
    assert put(store, [trade(2)]) == Stored(1, 0, 0)


def test_a_missing_leaf_is_no_fault_of_the_rows(store, database):
    """Not even when a row that PostgreSQL refuses is among them."""
    put(store, [trade(1), trade(1, NOON_US - 5 * US_PER_DAY)])
    noon = datetime.fromtimestamp(NOON_US / 1e6, UTC).date()
    rows(database, f"ALTER TABLE raw_ticks_{noon:%Y%m%d} ADD CONSTRAINT unlucky CHECK (price <> 13)")
    drop_leaves_before(database, "raw_ticks", noon)
    assert put(store, [trade(2, price="13"), trade(3, NOON_US - 5 * US_PER_DAY)]) == Stored(1, 0, 1)
    assert rows(database, "SELECT trade_id FROM raw_ticks ORDER BY 1") == [(1,), (3,)]


def test_a_failed_transaction_stores_nothing_at_all(store, database):
    rows(database, "ALTER TABLE writer_positions ADD CONSTRAINT full_disk CHECK (stored < 0)")
    with pytest.raises(Exception, match="full_disk"):
        put(store, [trade(1)], more="no row\n")
    for table in ("raw_ticks", "dead_letters", "writer_positions"):
        assert rows(database, f"TABLE {table}") == []


def test_a_workers_position_never_goes_back(store, database):
    newer, older = entry(9, [trade(1)]), entry(3, [trade(2)])
    older = older._replace(id=older.id._replace(ms=newer.id.ms))
    for each in (newer, older):
        store.store(STREAM, [each], read_entries([each], LIMITS))
    assert rows(database, "SELECT position_ms, position_seq FROM writer_positions") == [(newer.id.ms, 9)]


def test_the_time_index_is_brought_up_to_date(store, database):
    put(store, [trade(n, NOON_US + n) for n in range(1, 5_000)])
    store.summarize()
    store.summarize()
    leaf = f"raw_ticks_{datetime.fromtimestamp(NOON_US / 1e6, UTC):%Y%m%d}"
    find = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = %s::regclass AND NOT indisunique"
    index = rows(database, find, leaf)
    assert rows(database, "SELECT brin_summarize_new_values(%s::regclass)", index[0][0]) == [(0,)]
