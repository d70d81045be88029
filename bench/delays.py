"""How long trades, bars and alerts took, from what was noted of them on the way. Pure; stamps in microseconds since 1970."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

SECOND_US = 1_000_000


class Tick(NamedTuple):
    """A stored trade. `rank`: 1 for the first trade of its symbol and second."""

    symbol: str
    trade_id: int
    stamped_us: int
    committed_us: int
    rank: int


class Update(NamedTuple):
    """An event of a 1s bar as a listener got it, open or closed."""

    symbol: str
    start_us: int
    tick_count: int
    received_us: int


class Alerted(NamedTuple):
    """A stored alert event over a 1s bar."""

    symbol: str
    start_us: int
    committed_us: int


def shown_us(ticks: Iterable[Tick], updates: Iterable[Update]) -> dict[tuple[str, int], int]:
    """Of each trade (symbol, id) when the first update of its bar came that counts it; a trade never shown is left out.

    >>> ticks = [Tick("A", 7, 100, 0, 1), Tick("A", 8, 200, 0, 2), Tick("A", 9, 900_000, 0, 3)]
    >>> shown_us(ticks, [Update("A", 0, 1, 5_000), Update("A", 0, 2, 9_000), Update("A", SECOND_US, 3, 9_500)])
    {('A', 7): 5000, ('A', 8): 9000}
    """
    by_bar: dict[tuple[str, int], list[Update]] = {}
    for update in sorted(updates, key=lambda update: update.received_us):
        by_bar.setdefault((update.symbol, update.start_us), []).append(update)
    counts = {bar: list(accumulate((update.tick_count for update in told), max)) for bar, told in by_bar.items()}
    found = {}
    for tick in ticks:
        bar = (tick.symbol, tick.stamped_us - tick.stamped_us % SECOND_US)
        at = bisect_left(counts.get(bar, []), tick.rank)
        if at < len(by_bar.get(bar, [])):
            found[tick.symbol, tick.trade_id] = by_bar[bar][at].received_us
    return found


def closing_us(ticks: Sequence[Tick], appended_us: Mapping[tuple[str, int], int], lateness_us: int) -> dict[tuple[str, int], int]:
    """Of each 1s bar (symbol, start) when the trade that closed it was appended: the first past its end and the lateness.

    `appended_us` is by (symbol, trade id); bars before a symbol's first trade here are left out, whoever closed them.

    >>> ticks = [Tick("A", 1, 900_000, 0, 1), Tick("A", 2, 1_400_000, 0, 1), Tick("A", 3, 1_600_000, 0, 2)]
    >>> closing_us(ticks, {("A", 1): 10, ("A", 2): 20, ("A", 3): 30}, 500_000)
    {('A', 0): 30}
    """
    found: dict[tuple[str, int], int] = {}
    passed: dict[str, int] = {}  # symbol -> the start of the newest bar that is closed
    for tick in sorted(ticks, key=lambda tick: (tick.symbol, tick.trade_id)):
        start_us = (tick.stamped_us - lateness_us) // SECOND_US * SECOND_US - SECOND_US
        before_us = passed.setdefault(tick.symbol, start_us)
        if start_us > before_us and (tick.symbol, tick.trade_id) in appended_us:
            for each in range(before_us + SECOND_US, start_us + 1, SECOND_US):
                found[tick.symbol, each] = appended_us[tick.symbol, tick.trade_id]
            passed[tick.symbol] = start_us
    return found
