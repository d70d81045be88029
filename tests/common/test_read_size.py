"""How much of a stream a reader asks for, and in which pieces it works on it."""

from hypothesis import given
from hypothesis import strategies as st

from common.streams import Entry, EntryId, ReadSize, in_pieces


def entries_of(*rows: int) -> list[Entry]:
    return [Entry(EntryId(1, at), "api", b"x\n" * count) for at, count in enumerate(rows)]


def test_a_first_read_takes_entries_for_full():
    assert ReadSize(20_000, 1_000).entries() == 20


def test_large_entries_are_believed_at_once_and_small_ones_bit_by_bit():
    size = ReadSize(20_000, 1_000, most=500)
    asked = []
    for _ in range(12):
        size.note(entries_of(1, 1, 1))
        asked.append(size.entries())
    assert asked[0] == 39 and asked == sorted(asked) and asked[-1] == 500
    size.note(entries_of(2_000, 2_000))
    assert size.entries() == 10


def test_it_asks_for_one_at_least():
    size = ReadSize(100, 1_000)
    size.note(entries_of(5_000))
    assert size.entries() == 1


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 60))
def test_pieces_are_all_entries_in_order_and_none_is_too_large(rows, limit):
    entries = entries_of(*rows)
    pieces = list(in_pieces(entries, limit))
    assert [entry for piece in pieces for entry in piece] == entries
    assert all(piece for piece in pieces)
    for piece in pieces:
        counts = [entry.rows.count(b"\n") for entry in piece]
        assert sum(counts) <= limit or sum(1 for count in counts if count) == 1


def test_an_entry_that_is_larger_is_a_piece_of_its_own():
    assert [len(piece) for piece in in_pieces(entries_of(3, 9, 3, 3), 6)] == [1, 1, 2]
