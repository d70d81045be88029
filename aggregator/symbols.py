"""What the core knows of each symbol, as growing columns: clocks, scales, ids seen."""

from typing import Any

import numpy as np

from aggregator.intervals import Hole, Interval, SeenIds
from aggregator.unstored import Unstored

Array = np.ndarray[Any, Any]
#: Columns of int64 and what they start with.
_COLUMNS = {
    "max_event_us": -1,  # largest stamp seen
    "arrived_ms": 0,  # time of the entry that brought the newest trade
    "watermark_us": -1,  # never goes back; every bar that ends at or before it is closed
    "first_us": -1,  # stamp of the first trade ever seen
    "unproven_us": -1,  # bars that start before it close by the rebuild
    "price_scale": 0,
    "size_scale": 0,
    "loose_ids": 0,  # 1: its ids need not follow on each other, so holes between them say nothing
}


class Symbols:
    """Codes 0..n-1 for symbols, in order of their first trade."""

    max_event_us: Array
    arrived_ms: Array
    watermark_us: Array
    first_us: Array
    unproven_us: Array
    price_scale: Array
    size_scale: Array
    loose_ids: Array

    def __init__(self) -> None:
        self.names: list[str] = []
        self.codes: dict[str, int] = {}
        self.seen: list[SeenIds] = []
        self.content_ids: list[dict[int, int]] = []  # id -> stamp, for ids that are not contiguous
        self.unstored = Unstored()
        for name in _COLUMNS:
            setattr(self, name, np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def codes_of(self, names: list[str]) -> Array:
        """Codes of these symbols; new ones are registered."""
        for name in names:
            if name not in self.codes:
                self._register(name)
        return np.array([self.codes[name] for name in names], dtype=np.intp)

    def _register(self, name: str) -> None:
        self.codes[name] = len(self.names)
        self.names.append(name)
        self.seen.append(SeenIds())
        self.content_ids.append({})
        for column, start in _COLUMNS.items():
            setattr(self, column, np.append(getattr(self, column), start))

    def take_over(self, other: "Symbols", code: int) -> int:
        """Add all that another has of a symbol; answers its code here."""
        name = other.names[code]
        self._register(name)
        for column in _COLUMNS:
            getattr(self, column)[-1] = getattr(other, column)[code]
        self.seen[-1], self.content_ids[-1] = other.seen[code], other.content_ids[code]
        self.unstored.take_over(other.unstored, code, self.codes[name])
        return self.codes[name]

    def holes(self, code: int) -> list[Hole]:
        """Holes in the ids of a symbol, as far as they are remembered; none where ids need not follow on each other."""
        return [] if self.loose_ids[code] else self.seen[code].holes()

    def forget_all(self) -> None:
        """Whatever comes again is new."""
        for seen in self.seen:
            seen.forget_all()
        for ids in self.content_ids:
            ids.clear()

    def forget_before(self, code: int, event_us: int, stored_us: int) -> None:
        """Forget ids whose trades lie before a stamp: their bars are all closed. Where holes between ids tell of gaps, only those
        before `stored_us` as well: all trades stamped before that are stored.
        """
        self.seen[code].forget_before(event_us if self.loose_ids[code] else min(event_us, stored_us))
        ids = self.content_ids[code]
        for trade_id in [trade_id for trade_id, stamp in ids.items() if stamp < event_us]:
            del ids[trade_id]

    def to_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        columns = {name: getattr(self, name).tolist() for name in _COLUMNS}
        seen = [[ids.floor_id, [list(interval) for interval in ids.intervals], ids.left] for ids in self.seen]
        content = [list(ids.items()) for ids in self.content_ids]
        unstored = self.unstored.to_json()
        return {"names": self.names, "columns": columns, "seen": seen, "content": content, "unstored": unstored}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "Symbols":
        """From a checkpoint."""
        self = cls()
        self.codes_of(state["names"])
        for name in _COLUMNS:
            setattr(self, name, np.array(state["columns"][name], dtype=np.int64))
        self.seen = [SeenIds([Interval(*interval) for interval in runs], floor, *left) for floor, runs, *left in state["seen"]]
        self.content_ids = [dict(map(tuple, items)) for items in state["content"]]
        self.unstored = Unstored(*state.get("unstored", ()))
        return self
