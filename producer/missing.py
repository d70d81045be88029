"""What is missing, what of it to ask for next, and what an answer says about it. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from common.gaps import Gap
from common.trades import Trade


class Known(NamedTuple):
    """A gap that the feed itself knows of; `from_us` 0 where it does not know the stamp before it."""

    gap: Gap
    state: str
    note: str


class Asked:
    """Ids that were asked for lately, so that they get the time to be stored. Pure.

    >>> asked = Asked()
    >>> asked.note("A", 5, 9, until_s=20.0)
    >>> asked.next_id("A", 5, now_s=10.0), asked.next_id("A", 3, now_s=10.0), asked.next_id("A", 5, now_s=20.0)
    (10, 3, 5)
    """

    def __init__(self) -> None:
        self._ranges: defaultdict[str, list[tuple[int, int, float]]] = defaultdict(list)

    def note(self, symbol: str, first_id: int, last_id: int, until_s: float) -> None:
        """These ids need not be asked for before that moment."""
        self._ranges[symbol].append((first_id, last_id, until_s))

    def next_id(self, symbol: str, trade_id: int, now_s: float) -> int:
        """The first id at or above that one to ask for."""
        living = sorted(each for each in self._ranges[symbol] if each[2] > now_s)
        self._ranges[symbol] = living
        for first_id, last_id, _ in living:
            if first_id <= trade_id <= last_id:
                trade_id = last_id + 1
        return trade_id


class Given(NamedTuple):
    """What a page has of a gap from an id on. Pure."""

    trades: list[Trade]
    absent: list[Gap]
    next_id: int
    last_us: int  # stamp of the last trade at or before `next_id`

    @classmethod
    def of(cls, gap: Gap, from_id: int, before_us: int, page: Sequence[Trade]) -> "Given":
        """The page is not empty; what it skips the venue does not have."""
        trades: list[Trade] = []
        absent: list[Gap] = []
        next_id, last_us = from_id, before_us
        for trade in sorted(page, key=lambda each: each.trade_id):
            if next_id > gap.last_id or trade.trade_id < next_id:
                continue
            if trade.trade_id > next_id:
                last_id = min(trade.trade_id - 1, gap.last_id)
                ends = sorted((last_us, min(trade.event_us, gap.to_us) if trade.trade_id > gap.last_id else trade.event_us))
                absent.append(Gap(gap.symbol, next_id, last_id, *ends))
            if trade.trade_id <= gap.last_id:
                trades.append(trade)
            next_id, last_us = trade.trade_id + 1, trade.event_us
        return cls(trades, absent, next_id, last_us)
