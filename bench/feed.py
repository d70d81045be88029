"""Entries of made-up trades: random walks with contiguous ids, as a busy producer would batch them."""

import time

import numpy as np

from common.codec import iso_us

SRC = "bench.trade"


def made_rows(count: int, symbols: int, per_s: int, seed: int = 1) -> list[str]:
    """`count` rows of `symbols` symbols at `per_s` trades a second of event time, up to now."""
    rng = np.random.default_rng(seed)
    code = rng.integers(symbols, size=count)
    stamps = time.time_ns() // 1000 - (count - np.arange(count)) * 1_000_000 // per_s
    ids = np.zeros(count, dtype=np.int64)
    cents = np.zeros(count, dtype=np.int64)
    for each in range(symbols):
        mine = code == each
        ids[mine] = 3_000_000_000 + np.arange(mine.sum())
        cents[mine] = np.maximum(4_300_000 // (each + 1) + np.cumsum(rng.integers(-3, 4, size=mine.sum())), 100)
    sizes = rng.integers(1, 10**6, size=count)
    sides = rng.integers(2, size=count)
    names = [f"SYM{each}USDT" for each in range(symbols)]
    return [
        f"{names[c]},{i},{iso_us(us)},{p // 100}.{p % 100:02d},{s // 10**5}.{s % 10**5:05d},{'bs'[side]},\n"
        for c, i, us, p, s, side in zip(
            code.tolist(), ids.tolist(), stamps.tolist(), cents.tolist(), sizes.tolist(), sides.tolist(), strict=True
        )
    ]


def entries_of(rows: list[str], batch_rows: int) -> list[tuple[int, str]]:
    """The rows as (count, text) of entries."""
    return [(len(part), "".join(part)) for part in (rows[at : at + batch_rows] for at in range(0, len(rows), batch_rows))]
