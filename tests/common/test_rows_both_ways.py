"""The fast way and the row-by-row way of reading an entry's rows must never differ, whatever the bytes."""

from fractions import Fraction
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import columns
from common.codec import decode_row, decode_rows, encode_row, encode_rows, iso_us
from common.columns import Batch, read_entries
from common.fastrows import Unreadable, read_fast
from common.judge import AHEAD_US, MAX_ID, MAX_SEQ, Limits
from common.streams import Entry, EntryId
from common.trades import US_PER_DAY, Trade

ENTRY_MS = 1_709_251_200_000  # 2024-03-01: the day before it is a leap day
LIMITS = Limits(1_000_000_000_000_000, 400 * US_PER_DAY)

digits = st.one_of(st.integers(0, 10**6).map(str), st.integers(0, 10**18).map(str), st.integers(0, 10**39).map(str))
decimals = st.one_of(
    digits,
    st.tuples(digits, st.text("0123456789", min_size=1, max_size=20)).map(".".join),
    st.sampled_from(["0", "0.0", "007.50", ".5", "5.", "1.2.3", "1e5", "-1", "NaN", "inf", "", " 1", "٣", "1_0", "0.00000001"]),
)
#: Long names that differ in one word of eight bytes, or in their last character only.
prefixed = st.builds(
    lambda length, at, other: ("LONGSYMBOL" * 4)[:at] + other + ("LONGSYMBOL" * 4)[at + 1 : length],
    st.integers(9, 41), st.integers(0, 39), st.sampled_from("ABZ09:._-"),
)  # fmt: skip
symbols = st.one_of(
    st.sampled_from(["BTCUSDT", "ETHUSDT", "A", "AB", "ABCDEFGH", "ABCDEFGHI", "BINANCEUM:BTCUSDT"]),
    prefixed,
    st.sampled_from(["btc", "", "AB\0", "A B", "É", "A" * 40, "A" * 41, '"A"']),
)
ids = st.one_of(
    st.integers(0, 10**10), st.integers(-MAX_ID, MAX_ID), st.integers(MAX_ID - 3, MAX_ID + 3), st.integers(-(10**19), -(10**18))
).map(str) | st.sampled_from(["", "-", "-0", "007", "1.0", "0" * 19, "9" * 19, "+1"])
stamps = st.one_of(
    st.integers(ENTRY_MS * 1000 - 401 * US_PER_DAY, ENTRY_MS * 1000 + 2 * AHEAD_US).map(iso_us),
    st.sampled_from([
        "2024-02-29T23:59:59.999999Z", "2023-02-29T00:00:00.000000Z", "2024-02-30T00:00:00.000000Z",
        "2024-02- 3T07:00:00.123456Z", "2024-W01-1T07:00:00.123456Z", "2024-2-029T00:00:00.000000Z",
        "2024-02-29 07:00:00.123456Z", "2024-02-29T07:00:00Z", "2024-02-29T24:00:00.000000Z", "2024-02-29T07:60:00.000000Z",
        "2024-02-29T07:00:60.000000Z", "2024-02-29T07:00:00.12345678Z", "2024-02-29T07:00:00.123456+01:00",
        "2024-02-29T07-00-00.123456Z", "2٠24-2-٣T07:00:00.123456Z", "", "now",
    ]),
)  # fmt: skip
sides = st.sampled_from(["b", "s", "", "B", "bs", " "])
seqs = st.one_of(st.just(""), st.integers(0, MAX_SEQ + 2).map(str), st.sampled_from(["-1", "x", "0" * 18 + "7", "\r", '""']))
garbage = st.one_of(st.text(max_size=30), st.text(',\n.0-9TZ:bs\0"', max_size=40))
almost = st.tuples(symbols, ids, stamps, decimals, decimals, sides, seqs).map(",".join)
canonical = st.builds(
    Trade,
    st.sampled_from(["BTCUSDT", "ETHUSDT", "ABCDEFGHI", "ABCDEFGHJ"]) | prefixed.filter(lambda name: len(name) <= 40),
    st.integers(-MAX_ID, MAX_ID) | st.integers(0, 10**10),
    st.integers(ENTRY_MS * 1000 - 390 * US_PER_DAY, ENTRY_MS * 1000),
    st.sampled_from(["43000.12", "0.00000001", "7", "123456789012345678", "0.123456789012345678", "99999999999999999.9"]),
    st.sampled_from(["1", "0.5", "1000000000000.25", "12345678901234567890.5"]),
    st.sampled_from(["b", "s", ""]),
    st.none() | st.integers(0, MAX_SEQ),
)  # fmt: skip


def entries_of(bodies: list[str]) -> list[Entry]:
    return [Entry(EntryId(ENTRY_MS + n, 0), "test", body.encode("utf-8", "replace")) for n, body in enumerate(bodies)]


def told(batch: Batch) -> tuple[list[tuple], list, list[Trade]]:
    """What a reader sees of a batch: trades by value, dead rows, and the rows for COPY as trades."""
    c = batch.columns
    trades = [
        (
            c.symbols[c.symbol[n]], int(c.trade_id[n]), int(c.event_us[n]),
            Fraction(int(c.price[n]), 10 ** int(c.price_scale[n])), Fraction(int(c.size[n]), 10 ** int(c.size_scale[n])),
            bool(c.buy[n]), int(c.seq[n]), int(c.entry[n]),
        )
        for n in range(len(c))
    ]  # fmt: skip
    copied = [
        (t.symbol, t.trade_id, t.event_us, Fraction(t.price), Fraction(t.size), t.side, t.seq)
        for t in decode_rows(batch.rows.decode())
    ]
    return trades, batch.dead, copied


def both_ways(entries: list[Entry]) -> tuple[Batch, Batch]:
    with patch.object(columns, "FEW_ROWS", 1):
        fast = read_entries(entries, LIMITS)
    with patch.object(columns, "FEW_ROWS", 2**31):
        return fast, read_entries(entries, LIMITS)


@settings(max_examples=200)
@given(st.lists(st.one_of(almost, garbage, canonical.map(lambda trade: encode_row(trade)[:-1])), min_size=1, max_size=4))
@example(["A,1,2024-02- 3T07:00:00.123456Z,1,1,b,"])
@example(["AB,1,2024-02-29T07:00:00.123456Z,1,1,b,", "AB\0,2,2024-02-29T07:00:00.123456Z,1,1,b,"])
def test_any_rows_read_the_same_both_ways(rows):
    fast, slow = both_ways(entries_of(["".join(f"{row}\n" for row in rows)]))
    assert told(fast) == told(slow)


@settings(max_examples=150)
@given(st.lists(st.lists(canonical, max_size=6), min_size=1, max_size=4))
def test_canonical_rows_of_many_entries_are_all_good_and_read_the_same_both_ways(batches):
    fast, slow = both_ways(entries_of([encode_rows(batch) for batch in batches]))
    assert told(fast) == told(slow)
    assert not fast.dead and decode_rows(fast.rows.decode()) == [trade for batch in batches for trade in batch]


@settings(max_examples=150)
@given(st.lists(canonical, min_size=1, max_size=3), st.data())
def test_one_odd_field_among_good_rows_reads_the_same_both_ways(trades, data):
    """The batch that the fast way must refuse whole, though all but one field of it is in order."""
    rows = [encode_row(trade)[:-1].split(",") for trade in trades]
    at = data.draw(st.integers(0, 6))
    rows[data.draw(st.integers(0, len(rows) - 1))][at] = data.draw([symbols, ids, stamps, decimals, decimals, sides, seqs][at])
    fast, slow = both_ways(entries_of(["".join(",".join(row) + "\n" for row in rows)]))
    assert told(fast) == told(slow)


@given(st.lists(canonical, min_size=1, max_size=3), st.data())
def test_entries_cut_anywhere_read_the_same_both_ways(trades, data):
    """An entry's end ends its last row: the next entry's first row is never glued to it."""
    text = encode_rows(trades)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=3)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    fast, slow = both_ways(entries_of(pieces))
    assert told(fast) == told(slow)


@pytest.mark.parametrize("cut", [1, 2, 5, 30])
def test_a_row_without_its_newline_is_not_glued_to_the_next_entry(cut):
    row = encode_row(Trade("BTCUSDT", 1, ENTRY_MS * 1000, "1", "1", "b", 12345))
    entries = entries_of([row[:-cut], row[-cut:] + row * 50])
    fast, slow = both_ways(entries)
    assert told(fast) == told(slow)


@pytest.mark.parametrize(("price", "size"), [("1", "2.3.4"), ("1.2.3", "4"), ("1.2.3", "4.5"), ("1", "2")])
def test_as_many_points_as_usual_at_other_places_are_no_usual_row(price, size):
    """One look finds all ends of fields: a point too few in the price and one too many in the size do not mend each other."""
    stamp = iso_us(ENTRY_MS * 1000)
    usual, odd = f"A,1,{stamp},1.5,2.5,b,\n", f"A,2,{stamp},{price},{size},b,\n"
    fast, slow = both_ways(entries_of([usual + odd + usual]))
    assert told(fast) == told(slow)
    assert len(fast.columns) == (3 if price == "1" and size == "2" else 2)


def test_what_follows_the_last_row_is_seen():
    row = encode_row(Trade("A", 1, ENTRY_MS * 1000, "1.5", "2.5", "b")).encode()
    for rest in (b"X", b"A", b"0"):
        with pytest.raises(Unreadable):
            read_fast(row * 2 + rest, 2)


@pytest.mark.parametrize("names", [("AONGNAMEA", "BONGNAMEB"), ("AONGNAMEAX", "CONGNAMECX")])
def test_two_long_symbols_with_the_same_key_are_told_apart(names):
    """Their keys are the same number: what the first word differs in, the second one takes back."""
    assert len(set(names)) == 2
    rows = [encode_row(Trade(name, 1, ENTRY_MS * 1000, "1.5", "2.5", "b")) for name in names]
    fast, slow = both_ways(entries_of(["".join(rows * 20)]))
    assert told(fast) == told(slow)
    assert sorted(fast.columns.symbols) == sorted(names)


@pytest.mark.parametrize("way", range(2), ids=["fast", "slow"])
def test_each_row_is_judged_by_its_own_entrys_time(way):
    """Entries far apart are read together: a stamp that the one may hold the other may not."""
    first_ms, last_ms = ENTRY_MS, ENTRY_MS + 5 * 86_400_000
    oldest_us = first_ms * 1000 - LIMITS.retention_us
    ahead_us = first_ms * 1000 + AHEAD_US + 1

    def read(stamps_of_first: list[int], stamps_of_last: list[int]) -> list[tuple[int, str]]:
        bodies = [
            "".join(encode_row(Trade("A", n, us, "1.5", "2.5", "b")) for n, us in enumerate(stamps))
            for stamps in (stamps_of_first, stamps_of_last)
        ]
        entries = [Entry(EntryId(ms, 0), "test", body.encode()) for ms, body in zip((first_ms, last_ms), bodies, strict=True)]
        batch = both_ways(entries)[way]
        assert len(batch.columns) + len(batch.dead) == len(stamps_of_first) + len(stamps_of_last)
        return [(dead.entry, dead.field) for dead in batch.dead]

    usual_us = first_ms * 1000
    assert read([usual_us], [usual_us, last_ms * 1000]) == []
    assert read([ahead_us, usual_us], [ahead_us]) == [(0, "timestamp")]
    assert read([oldest_us, usual_us], [usual_us]) == []
    assert read([usual_us, oldest_us], [oldest_us]) == [(1, "timestamp")]


@given(st.lists(canonical, max_size=5))
def test_rows_give_their_trades_back(trades):
    assert decode_rows(encode_rows(trades)) == trades


def test_a_row_as_a_person_reads_it():
    row = "BTCUSDT,3000000000,2026-11-23T07:00:00.123456Z,43000.12,0.0123,b,\n"
    trade = Trade("BTCUSDT", 3_000_000_000, 1_795_417_200_123_456, "43000.12", "0.0123", "b", None)
    assert decode_row(row[:-1]) == trade and encode_row(trade) == row
