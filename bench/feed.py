"""Entries of made-up trades: random walks with contiguous ids, as a busy producer would batch them."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.codec import iso_us

Array = np.ndarray[Any, Any]
SRC = "bench.trade"
CHUNK_ROWS = 200_000
#: In a real half day of BTCUSDT 94 of 100 sizes and 91 of 100 prices were among the last 16,384 others.
USUAL_SHARE = 0.93


def made_rows(count: int, symbols: int, per_s: int, seed: int = 1) -> list[str]:
    """`count` rows of `symbols` symbols at `per_s` trades a second of event time, up to now."""
    return [row for chunk in made_chunks(count, symbols, per_s, time.time_ns() // 1000, seed) for row in chunk]


def made_chunks(count: int, symbols: int, per_s: int, until_us: int, seed: int = 1) -> Iterator[list[str]]:
    """The same, stamped up to a moment, in pieces of `CHUNK_ROWS`: for more rows than memory should hold."""
    rng = np.random.default_rng(seed)
    next_id = np.full(symbols, 3_000_000_000)
    cents = 4_300_000 // (np.arange(symbols) + 1)
    for at in range(0, count, CHUNK_ROWS):
        rows = min(CHUNK_ROWS, count - at)
        stamps = until_us - (count - at - np.arange(rows)) * 1_000_000 // per_s
        yield _chunk(rng, next_id, cents, stamps)


def _chunk(rng: np.random.Generator, next_id: Array, cents: Array, stamps: Array) -> list[str]:
    """Rows at these stamps; the next ids and the last prices of the symbols move on."""
    rows = len(stamps)
    code = rng.integers(len(cents), size=rows)
    ids, prices = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for each in range(len(cents)):
        mine = code == each
        if n := int(mine.sum()):
            ids[mine] = next_id[each] + np.arange(n)
            prices[mine] = walk = np.maximum(cents[each] + np.cumsum(rng.integers(-3, 4, size=n)), 100)
            next_id[each], cents[each] = next_id[each] + n, walk[-1]
    sides, usual = rng.integers(2, size=rows), rng.random(rows) < USUAL_SHARE
    sizes = np.where(usual, _usual_sizes(rng, rows), rng.integers(1, 10**6, size=rows))
    columns = [column.tolist() for column in (code, ids, stamps, prices, sizes, sides)]
    return [
        f"SYM{c}USDT,{i},{iso_us(us)},{p // 100}.{p % 100:02d},{s // 10**5}.{s % 10**5:05d},{'bs'[side]},\n"
        for c, i, us, p, s, side in zip(*columns, strict=True)
    ]


def _usual_sizes(rng: np.random.Generator, rows: int) -> Array:
    """Of a few thousand sizes, the small ones oftener: what robots trade."""
    chosen: Array = 1 + np.minimum(rng.geometric(0.002, size=rows), 4_000) * 7
    return chosen


def entries_of(rows: list[str], batch_rows: int) -> list[tuple[int, str]]:
    """The rows as (count, text) of entries."""
    return [(len(part), "".join(part)) for part in (rows[at : at + batch_rows] for at in range(0, len(rows), batch_rows))]
