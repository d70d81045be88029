"""What is in the spool is on the disk and comes back in order, whatever was cut off behind it."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.batcher import Batch
from producer.spool import Spool


def batches(first: int, end: int) -> list[Batch]:
    return [Batch("trades", "binance.trade", 1, f"BTCUSDT,{number}\n") for number in range(first, end)]


def drained(spool: Spool) -> list[Batch]:
    out = []
    while spool:
        some = spool.peek(3)
        out += some
        spool.drop(len(some))
    return out


def test_order_is_kept_while_it_fills_and_empties(tmp_path):
    spool = Spool(tmp_path, 10**9, segment_bytes=200)
    spool.append(batches(0, 10))
    first = spool.peek(4)
    spool.append(batches(10, 20))
    spool.drop(len(first))
    assert first + drained(spool) == batches(0, 20)
    assert spool.bytes == 0 and not spool and list(tmp_path.iterdir()) == []
    spool.append(batches(20, 22))
    assert drained(spool) == batches(20, 22)


@pytest.mark.parametrize("dropped", [0, 2, 3])
def test_what_comes_while_a_file_is_replayed_goes_into_another(tmp_path, dropped):
    """The first file is in memory already, and deleted as it is: what were added to it would go with it."""
    spool = Spool(tmp_path, 10**9)
    spool.append(batches(0, 3))
    assert spool.peek(2) == batches(0, 2)
    spool.drop(dropped)
    spool.append(batches(3, 5))
    assert drained(spool) == batches(dropped, 5)


def test_another_process_finds_all_that_was_appended(tmp_path):
    Spool(tmp_path, 10**9, 200).append(batches(0, 5))
    again = Spool(tmp_path, 10**9, 200)
    again.append(batches(5, 9))
    assert drained(Spool(tmp_path, 10**9, 200)) == batches(0, 9)


def test_a_crash_in_the_middle_of_a_replay_sends_again_and_loses_nothing(tmp_path):
    spool = Spool(tmp_path, 10**9)
    spool.append(batches(0, 6))
    spool.drop(len(spool.peek(4)))
    assert drained(Spool(tmp_path, 10**9)) == batches(0, 6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 400), st.booleans())
def test_a_torn_tail_is_cut_and_what_follows_is_readable(tmp_path_factory, keep, garbage):
    folder = tmp_path_factory.mktemp("spool")
    Spool(folder, 10**9).append(batches(0, 5))
    (segment,) = folder.glob("*.spool")
    size = segment.stat().st_size
    os.truncate(segment, min(keep, size))
    if garbage:
        segment.write_bytes(segment.read_bytes() + b"\0\0\0\x05torn")
    spool = Spool(folder, 10**9)
    whole = sum(1 for end in range(size // 5, size + 1, size // 5) if end <= keep)
    spool.append(batches(5, 7))
    assert drained(spool) == batches(0, whole) + batches(5, 7)


def test_a_damaged_record_hides_nothing_before_it(tmp_path):
    Spool(tmp_path, 10**9).append(batches(0, 3))
    (segment,) = tmp_path.glob("*.spool")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    assert drained(Spool(tmp_path, 10**9)) == batches(0, 2)


def test_it_says_when_it_is_full(tmp_path):
    spool = Spool(tmp_path, max_bytes=300)
    spool.append(batches(0, 2))
    assert not spool.full
    spool.append(batches(2, 6))
    assert spool.full and spool.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    drained(spool)
    assert not spool.full


@pytest.mark.parametrize("broken", [["fsync"], ["fsync", "truncate"]], ids=" and ".join)
def test_half_a_record_of_a_full_disk_does_not_hide_the_next_ones(tmp_path, monkeypatch, broken):
    """Nor does a disk that can not even cut it off: what it had got whole is sent twice, which is harmless."""
    spool = Spool(tmp_path, 10**9)
    spool.append(batches(0, 1))
    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
        for name in broken:
            patched.setattr(os, name, _no_space)
        spool.append(batches(1, 2))
    spool.append(batches(1, 3))
    assert drained(spool) == batches(0, 1) + (batches(1, 2) if "truncate" in broken else []) + batches(1, 3)


def _no_space(*whatever: object) -> None:
    raise OSError("no space")
