"""A batch leaves when it is full or old enough, whichever comes first; nothing is lost, and order is kept."""

from hypothesis import given
from hypothesis import strategies as st

from producer.batcher import Batch, Batcher

arrivals = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 4)), max_size=200)


@given(arrivals, st.integers(1, 7), st.integers(0, 6))
def test_every_row_is_in_one_batch_in_order(arrivals, max_rows, linger):
    batcher, now, out, sent = Batcher(max_rows, linger), 0, [], []
    for number, (src, later) in enumerate(arrivals):
        now += later
        out += batcher.due(now)
        sent.append((src, f"{number}\n"))
        full = batcher.add("trades", src, f"{number}\n", now)
        out += [full] if full else []
    out += batcher.drain()
    for src in "ab":
        assert "".join(b.rows for b in out if b.src == src) == "".join(row for name, row in sent if name == src)
    assert all(1 <= batch.n <= max_rows and batch.n == batch.rows.count("\n") for batch in out)
    assert batcher.due_in_s(now) is None


@given(arrivals, st.integers(1, 6))
def test_no_row_waits_longer_than_the_linger(arrivals, linger):
    batcher, now, since = Batcher(10**6, linger), 0, {}
    for src, later in arrivals:
        now += later
        for batch in batcher.due(now):
            del since[batch.src]
        assert all(now - first < linger for first in since.values())
        batcher.add("trades", src, "x\n", now)
        since.setdefault(src, now)
        assert batcher.due_in_s(now) == min(since.values()) + linger - now


def test_a_full_batch_leaves_at_once():
    batcher = Batcher(2, 1.0)
    assert batcher.add("trades", "a", "1\n", 0.0) is None
    assert batcher.add("trades", "b", "2\n", 0.0) is None
    assert batcher.add("trades", "a", "3\n", 0.0) == Batch("trades", "a", 2, "1\n3\n")
    assert batcher.drain() == [Batch("trades", "b", 1, "2\n")]


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 7))
def test_many_rows_at_once_are_as_one_by_one(sizes, max_rows):
    many, one, rows = Batcher(max_rows, 1.0), Batcher(max_rows, 1.0), iter(range(1000))
    for size in sizes:
        some = [f"{next(rows)}\n" for _ in range(size)]
        singly = [batch for row in some if (batch := one.add("trades", "a", row, 0.0))]
        assert many.extend("trades", "a", some, 0.0) == singly
        assert many.due_in_s(0.5) == one.due_in_s(0.5)
    assert many.drain() == one.drain()
