"""A row of `gaps` names what is missing now: it shrinks, splits and closes as ids come in, and what is lost is cut out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extras import execute_values

from common.database import transaction
from common.gaps import MOST_PIECES, Gap, cut, filled_spans, keep_missing, lose, missing_pieces, record, row_of
from common.judge import MAX_ID
from common.partitions import ensure_tick_leaves
from common.trades import from_us

DAY_US = 1_704_067_200_000_000
GAP = Gap("A", 11, 30, DAY_US + 10, DAY_US + 31)
ALL = "SELECT id, symbol, first_id, last_id, from_us, to_us, state, note, found_at FROM gaps ORDER BY first_id"


def store(database, ids) -> None:
    ensure_tick_leaves(database, [from_us(DAY_US).date()])
    rows = [("A", number, from_us(DAY_US + number), 1, 1) for number in ids]
    with transaction(database), database.cursor() as cursor:
        execute_values(cursor, "INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size) VALUES %s", rows)


def rows(database):
    with transaction(database), database.cursor() as cursor:
        cursor.execute(ALL)
        return [row_of(row) for row in cursor.fetchall()]


def refresh(database) -> bool:
    (row,) = [row for row in rows(database) if row.state == "open"]
    with transaction(database), database.cursor() as cursor:
        pieces = missing_pieces(cursor, row.gap, row.gap.from_us, row.gap.to_us)
        return keep_missing(cursor, row, pieces, "trades")


@pytest.fixture
def a_gap(database):
    with transaction(database), database.cursor() as cursor:
        assert record(cursor, GAP, "open", "", "trades")
        assert not record(cursor, GAP, "open", "", "trades")
    return database


def named(database) -> list[tuple[str, str]]:
    return [(str(row.gap), row.state) for row in rows(database)]


def test_a_gap_stays_while_nothing_came(a_gap):
    store(a_gap, [9, 10, 31, 32])
    assert not refresh(a_gap)
    assert named(a_gap) == [("A 11..30", "open")]


def test_a_gap_that_was_filled_is_closed(a_gap):
    store(a_gap, range(11, 31))
    assert refresh(a_gap)
    assert named(a_gap) == [("A 11..30", "closed")]


def test_a_gap_shrinks_and_splits_around_what_came(a_gap):
    store(a_gap, [11, 12, 13, 20, 21, 30])
    assert refresh(a_gap)
    found = rows(a_gap)
    assert [(str(row.gap), row.state) for row in found] == [("A 14..19", "open"), ("A 22..29", "open")]
    assert [row.gap[3:] for row in found] == [(DAY_US + 13, DAY_US + 20), (DAY_US + 21, DAY_US + 30)]


def test_a_gap_of_more_holes_than_rows_should_be_stays_one_row(database):
    wide = Gap("A", 1, 3 * MOST_PIECES, DAY_US, DAY_US + 3 * MOST_PIECES)
    with transaction(database), database.cursor() as cursor:
        record(cursor, wide, "open", "", "trades")
    store(database, range(2, 3 * MOST_PIECES, 2))
    assert not refresh(database)


@pytest.mark.parametrize(("stored", "missing"), [([], [(7, MAX_ID)]), ([9, MAX_ID], [(7, 8), (10, MAX_ID - 1)])])
def test_the_largest_id_there_is_may_be_missing_or_stored(database, stored, missing):
    """Anybody may post it; what looks for the ids around it must not count past 63 bits."""
    ensure_tick_leaves(database, [from_us(DAY_US).date()])
    rows_of = [("A", number, from_us(DAY_US + at), 1, 1) for at, number in enumerate(stored)]
    with transaction(database), database.cursor() as cursor:
        if rows_of:
            execute_values(cursor, "INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size) VALUES %s", rows_of)
        pieces = missing_pieces(cursor, Gap("A", 7, MAX_ID, DAY_US, DAY_US + 9), DAY_US, DAY_US + 9)
        assert [(piece.first_id, piece.last_id) for piece in pieces] == missing
        assert all(type(number) is int for piece in pieces for number in piece[1:])
        assert record(cursor, pieces[-1], "open", "", "trades")


def test_bars_that_say_gap_are_marked_where_something_came(a_gap):
    marks = "SELECT first_us, last_us FROM dirty_ranges WHERE reason = 'gap filled'"
    with transaction(a_gap), a_gap.cursor() as cursor:
        cursor.execute("CREATE TABLE a_day PARTITION OF processed_bars FOR VALUES FROM ('2024-01-01Z') TO ('2024-01-02Z')")
        for second, status in ((0, "gap"), (1, "complete"), (2, "gap")):
            values = ("A", "1s", from_us(DAY_US + second * 1_000_000), *[1] * 5, 1, 1, 1, 1, 1, 1, status)
            cursor.execute(f"INSERT INTO processed_bars VALUES ({', '.join(['%s'] * len(values))})", values)  # noqa: S608
    store(a_gap, range(11, 31))
    refresh(a_gap)
    with transaction(a_gap), a_gap.cursor() as cursor:
        cursor.execute(marks)
        assert cursor.fetchall() == [(DAY_US, DAY_US)]


def test_what_the_venue_does_not_have_is_lost_and_the_rest_stays_open(a_gap):
    with transaction(a_gap), a_gap.cursor() as cursor:
        lose(cursor, Gap("A", 15, 17, DAY_US + 14, DAY_US + 18), "not there")
        lose(cursor, Gap("A", 30, 40, DAY_US + 29, DAY_US + 41), "not there")
    assert named(a_gap) == [("A 11..14", "open"), ("A 15..17", "lost"), ("A 18..29", "open"), ("A 30..30", "lost")]
    assert [row.note for row in rows(a_gap)] == ["", "not there", "", "not there"]


def test_a_gap_that_the_aggregator_saw_first_can_be_lost(a_gap):
    with transaction(a_gap), a_gap.cursor() as cursor:
        record(cursor, GAP, "lost", "not there", "trades")
    assert named(a_gap) == [("A 11..30", "lost")]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_cutting_loses_no_id(a, b, c, d):
    gap, lost = (Gap("A", low, high, low - 1, high + 1) for low, high in (sorted((a, b)), sorted((c, d))))
    if lost.first_id > gap.last_id or lost.last_id < gap.first_id:
        return
    parts = cut(gap, lost)
    ids = [number for part, _ in parts for number in range(part.first_id, part.last_id + 1)]
    assert ids == list(range(gap.first_id, gap.last_id + 1))
    assert {n for part, state in parts if state == "lost" for n in range(part.first_id, part.last_id + 1)} == set(
        range(max(gap.first_id, lost.first_id), min(gap.last_id, lost.last_id) + 1)
    )
    assert all(gap.from_us <= part.from_us <= part.to_us <= gap.to_us for part, _ in parts)


@given(st.sets(st.integers(11, 29), max_size=12))
def test_filled_spans_and_pieces_cover_the_gap(cuts):
    edges = sorted(cuts)[: len(cuts) // 2 * 2]
    pieces = [Gap("A", first, last - 1, first, last) for first, last in zip(edges[::2], edges[1::2], strict=True)]
    spans = filled_spans(Gap("A", 1, 9, 10, 30), pieces)
    assert sorted([*spans, *[piece[3:] for piece in pieces]])[0][0] == 10
    ends = sorted([us for span in spans for us in span])
    assert all(first <= last for first, last in pairwise(ends)) and ends[-1] == 30
