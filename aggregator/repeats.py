"""Which trades of a batch are new: the first of each identity (symbol, UTC day, trade_id). Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aggregator.intervals import Hole, Interval
from aggregator.symbols import Symbols
from common.trades import US_PER_DAY

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Met:
    """What new ids say of holes between those seen."""

    opened: list[tuple[str, Hole]] = field(default_factory=list)
    filled: list[tuple[int, int, int]] = field(default_factory=list)  # symbol's code, first and last stamp of ids below others


def new_trades(
    symbols: Symbols, symbol: Array, event_us: Array, trade_id: Array, arrival: Array, segments: Array, horizon_us: Array,
    met: Met,
) -> tuple[Array | None, dict[int, int]]:  # fmt: skip
    """Mask of new rows (None: all are), and for symbols with an id that may have been forgotten, the stamp up to which
    nothing is proved. Rows are sorted by (symbol, event_us, seq, trade_id); `arrival` orders them as they came. Adds to `met`.
    """
    mask: Array | None = None
    unproven: dict[int, int] = {}
    ends = np.append(segments[1:], len(symbol))
    runs = _runs(event_us, trade_id, segments, ends)
    for start, end, code, run in zip(segments.tolist(), ends.tolist(), symbol[segments].tolist(), runs, strict=True):
        if run and _extends(symbols, code, run, met):
            continue
        ids, stamps = trade_id[start:end], event_us[start:end]
        forgotten = symbols.seen[code].forgets(ids) & (ids >= 0) & (stamps >= horizon_us[code])
        if forgotten.any():
            unproven[code] = int(stamps[forgotten].max()) + 1
        new = _new_of_symbol(symbols, code, ids, stamps, arrival[start:end], met)
        if new is not None:
            mask = np.ones(len(symbol), dtype=bool) if mask is None else mask
            mask[start:end] = new
    return mask, unproven


def _runs(event_us: Array, trade_id: Array, segments: Array, ends: Array) -> Iterator[Interval | None]:
    """Of each segment, its ids as an interval, if they follow on each other within a day; most do, and need no look at each."""
    follows = np.ones(len(trade_id), dtype=bool)
    follows[1:] = trade_id[1:] - trade_id[:-1] == 1
    follows[segments] = True
    days = event_us // US_PER_DAY
    are_runs = np.logical_and.reduceat(follows, segments) & (days[segments] == days[ends - 1])
    columns = (trade_id[segments], trade_id[ends - 1], event_us[segments], event_us[ends - 1])
    for is_run, *interval in zip(are_runs.tolist(), *(column.tolist() for column in columns), strict=True):
        yield Interval(*interval) if is_run else None


def _extends(symbols: Symbols, code: int, run: Interval, met: Met) -> bool:
    """Note a run of ids above all that were seen of a symbol; False where it is not that."""
    opened = symbols.seen[code].extend(run)
    if opened and not symbols.loose_ids[code]:
        met.opened += [(symbols.names[code], hole) for hole in opened]
    return opened is not None


def _new_of_symbol(
    symbols: Symbols, code: int, ids: Array, stamps: Array, arrival: Array, met: Met
) -> Array | None:
    """Mask of new rows of one symbol; None if all are new."""
    floor_id = symbols.seen[code].floor_id
    if int(ids.min()) >= floor_id:
        return _new_exchange_ids(symbols, code, ids, stamps, arrival, met)
    new = np.ones(len(ids), dtype=bool)
    _note_content_ids(symbols.content_ids[code], ids, stamps, arrival, new)
    exchange = ids >= floor_id
    if exchange.any():
        part = _new_exchange_ids(symbols, code, ids[exchange], stamps[exchange], arrival[exchange], met)
        if part is not None:
            new[exchange] = part
    return None if new.all() else new


def _note_content_ids(known: dict[int, int], ids: Array, stamps: Array, arrival: Array, new: Array) -> None:
    """The first to arrive counts, as in the table: a copy may have another `seq`."""
    rows = np.flatnonzero(ids < 0)
    for row in rows[np.argsort(arrival[rows])].tolist():
        trade_id = int(ids[row])
        if trade_id in known:
            new[row] = False
        else:
            known[trade_id] = int(stamps[row])


def _new_exchange_ids(
    symbols: Symbols, code: int, ids: Array, stamps: Array, arrival: Array, met: Met
) -> Array | None:
    days = stamps // US_PER_DAY
    if (np.diff(ids) > 0).all() and (days[0] == days[-1]):
        new = _add_runs(symbols, code, ids, stamps, met)
        return None if new.all() else new
    order = np.lexsort((arrival, ids, days))
    first = np.concatenate(([True], (np.diff(ids[order]) != 0) | (np.diff(days[order]) != 0)))
    rows = order[first]
    new = np.zeros(len(ids), dtype=bool)
    for day in np.unique(days):
        of_day = rows[days[rows] == day]
        new[of_day] = _add_runs(symbols, code, ids[of_day], stamps[of_day], met)
    return None if new.all() else new


def _add_runs(
    symbols: Symbols, code: int, ids: Array, stamps: Array, met: Met
) -> Array:
    """Note ascending ids of one day."""
    seen, is_loose = symbols.seen[code], symbols.loose_ids[code]
    top_id = seen.top_id
    new, opened = seen.add_run(ids, stamps)
    if opened and not is_loose:
        met.opened += [(symbols.names[code], hole) for hole in opened]
    if top_id is not None and ids[0] < top_id and not is_loose:
        filling = stamps[new & (ids < top_id)]
        met.filled += [(code, int(filling.min()), int(filling.max()))] if len(filling) else []
    return new
