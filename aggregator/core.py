"""Trades in, closed bars out. Pure: time is an argument, nothing is read or written.

    entries ─► judged columns ─► new? (ids) ─► late? (watermark) ─► open bars ─► closed bars
                                   └ repeated: dropped    └ mark: rebuilt from raw_ticks

A bar is `[start, end)` and closes once its symbol's watermark has passed its end. Everything that can't be proved to be whole
(a late trade, an id that may have been forgotten, a time that was not read) is marked instead of guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from aggregator.bars import PRICES, PRODUCTS, SIZES, Bars, bars_of_trades, collapse, concatenate, no_bars, times_powers
from aggregator.intervals import Hole
from aggregator.repeats import Met, new_trades
from aggregator.symbols import Symbols
from common.columns import Columns
from common.timeframes import timeframe_us
from common.trades import US_PER_DAY

Array = np.ndarray[Any, Any]


class Mark(NamedTuple):
    """Closed bars over stamps `[first_us, last_us]` of a symbol must be rebuilt from `raw_ticks`."""

    symbol: str
    first_us: int
    last_us: int
    reason: str


@dataclass(slots=True)
class Closed:
    """Bars that have closed: rows, and the status of each."""

    bars: Bars
    status: list[str]

    def followed_by(self, later: "Closed") -> "Closed":
        """Both, the bars of a symbol together and in the order of time."""
        bars, status = concatenate(self.bars, later.bars), self.status + later.status
        order = np.lexsort((bars.start_us, bars.symbol))
        return Closed(bars.take(order), [status[row] for row in order.tolist()])


@dataclass(slots=True)
class Outcome:
    """What a step, or several, brought."""

    closed: dict[str, Closed] = field(default_factory=dict)  # by timeframe; empty ones are left out
    marks: list[Mark] = field(default_factory=list)
    holes: list[tuple[str, Hole]] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)  # codes of symbols with new trades
    trades: int = 0
    repeated: int = 0
    late: int = 0
    now_ms: int = 0  # the stream's clock; 0: it was not asked

    @property
    def says_something(self) -> bool:
        """False if nothing but the position and the open bars has changed."""
        return bool(self.closed or self.marks or self.holes)

    @property
    def closed_bars(self) -> int:
        """How many bars have closed."""
        return sum(len(closed.bars) for closed in self.closed.values())


class Core:
    """The open bars of one shard, and what they need."""

    def __init__(self, timeframes: Sequence[str], lateness_ms: int) -> None:
        self.lengths = {timeframe: timeframe_us(timeframe) for timeframe in timeframes}
        self.lateness_us = lateness_ms * 1000
        self.base_us = gcd(*self.lengths.values())
        self.symbols = Symbols()
        self.open: dict[str, Bars] = {timeframe: no_bars() for timeframe in timeframes}
        self.doubting = False  # while true, no bar is proved
        self.doubted_since_us: int | None = None  # what was read and may never have been stored is stamped later
        self.watched: frozenset[str] = frozenset()  # symbols whose arrivals are noted, until `take_arrivals`
        self._arrivals: dict[str, list[int]] = {}
        self.has_doubted = False  # then a new symbol may have ticks already: its first bars are not proved

    def on_trades(
        self, columns: Columns, arrived_ms: Array, now_ms: int, loose: Array | None = None, outcome: Outcome | None = None
    ) -> Outcome:
        """Take the trades of some entries; `arrived_ms` is each row's entry time, `now_ms` the newest entry's.

        `loose` says of each row whether its source's ids need not follow on each other (None: all do). What they bring is added
        to `outcome`, the one of earlier steps that is not committed yet, and answered.
        """
        outcome = outcome or Outcome()
        if len(columns):
            if loose is not None:
                self._note_loose(columns, loose)
            self._take(columns, arrived_ms, outcome)
        return self._advance(now_ms, outcome)

    def on_time(self, now_ms: int, outcome: Outcome | None = None) -> Outcome:
        """The stream's clock went on and every entry up to then has been read; `outcome` as in `on_trades`."""
        return self._advance(now_ms, outcome or Outcome())

    def doubt(self, reason: str, back_us: int, stored_us: int) -> list[Mark]:
        """Entries may have been missed: until `trust`, bars close by the rebuild; marks go `back_us` before the watermarks, and
        over what was read of each day and may not be stored.

        All trades stamped before `stored_us` are stored. A doubt on top of a doubt keeps the earlier of both: what the first one
        feared for may still be unstored, however far the stream has been read meanwhile.
        """
        self.doubted_since_us = min(stored_us, self.doubted_since_us or 0) if self.doubting else stored_us
        self.doubting = self.has_doubted = True
        symbols, names = self.symbols, self.symbols.names
        first_us = np.maximum(symbols.watermark_us - back_us, 0)
        feared = symbols.unstored.doubt().rows
        earlier = feared[feared[:, 1] < first_us[feared[:, 0]]]
        spans = [*zip(range(len(names)), first_us.tolist(), symbols.max_event_us.tolist(), strict=True), *earlier.tolist()]
        return [Mark(names[code], first, last, reason) for code, first, last in spans]

    def trust(self) -> None:
        """Everything up to here has been read again: bars that start after what was seen are proved from now on.

        What was seen may never have been stored, and may come again: then it is late, and its bars are rebuilt.
        """
        self.doubting, self.doubted_since_us = False, None
        self.symbols.unstored.trust()
        self.close_by_rebuild()
        self.symbols.forget_all()

    def note_stored(self) -> None:
        """The writers have stored all trades that were taken before the last call."""
        self.symbols.unstored.note_stored()

    def close_by_rebuild(self) -> None:
        """No bar is proved that starts before a trade that was seen."""
        self.symbols.unproven_us = np.maximum(self.symbols.unproven_us, self.symbols.max_event_us + 1)

    def take_arrivals(self) -> dict[str, list[int]]:
        """Of watched symbols, the times (ms) of entries with newer trades since the last call, ascending."""
        taken, self._arrivals = self._arrivals, {}
        return taken

    def arrived_ms(self) -> dict[str, int]:
        """When each symbol's newest trade arrived."""
        return dict(zip(self.symbols.names, self.symbols.arrived_ms.tolist(), strict=True))

    def watermarks(self) -> dict[str, int]:
        """Each symbol's watermark, microseconds since 1970."""
        return dict(zip(self.symbols.names, self.symbols.watermark_us.tolist(), strict=True))

    def _note_loose(self, columns: Columns, loose: Array) -> None:
        """A symbol has one space of ids; content ids (below 0) are in none and may stand beside any."""
        codes = self.symbols.codes_of(columns.symbols)[columns.symbol]
        self.symbols.loose_ids[codes[loose & (columns.trade_id >= 0)]] = 1

    def _take(self, columns: Columns, arrived_ms: Array, outcome: Outcome) -> None:
        symbol = self.symbols.codes_of(columns.symbols)[columns.symbol]
        price, size = self._at_scale(symbol, columns, outcome)
        order = trade_order(symbol, columns.event_us, columns.seq, columns.trade_id)
        symbol, event_us, trade_id = symbol[order], columns.event_us[order], columns.trade_id[order]
        segments = segments_of(symbol)
        self.symbols.unstored.young.note(symbol, event_us, segments)
        self._note_clocks(symbol, event_us, arrived_ms[order], segments)
        horizon_us = self._horizon_us()
        met = Met()
        new, unproven = new_trades(self.symbols, symbol, event_us, trade_id, order, segments, horizon_us, met)
        for code, until_us in unproven.items():
            self.symbols.unproven_us[code] = max(self.symbols.unproven_us[code], until_us)
        kept = slice(None) if new is None else new
        rows = order[kept]
        outcome.trades, outcome.repeated = outcome.trades + len(rows), outcome.repeated + len(order) - len(rows)
        outcome.changed.update(int(code) for code in symbol[segments])
        outcome.holes += met.opened
        if self.doubting and new is not None:
            outcome.marks += self._marks_of_repeats(symbol[~new], event_us[~new])
        outcome.marks += self._marks_of_holes(met)
        base = bars_of_trades(
            symbol[kept], event_us[kept], columns.seq[rows], trade_id[kept], price[rows], size[rows], columns.buy[rows],
            self.base_us,
        )
        self._merge(base, bool((event_us < self.symbols.watermark_us[symbol]).any()), outcome)

    def _marks_of_holes(self, met: Met) -> list[Mark]:
        """Bars beside a hole may say `gap`; where it is filled in time no other mark would look at its gap again."""
        ends = {(name, stamp) for name, hole in met.opened for stamp in (hole.from_us, hole.to_us)}
        names, watermark_us = self.symbols.names, self.symbols.watermark_us
        filled = [Mark(names[code], first, last, "gap filled") for code, first, last in met.filled if last >= watermark_us[code]]
        return [Mark(name, stamp, stamp, "gap") for name, stamp in sorted(ends)] + filled

    def _marks_of_repeats(self, symbol: Array, event_us: Array) -> list[Mark]:
        """What comes again in a doubt may not have been stored before, and its bars may have been rebuilt without it."""
        starts = np.flatnonzero((np.diff(symbol, prepend=-1) != 0) | (np.diff(event_us // US_PER_DAY, prepend=-1) != 0))
        lasts = np.append(starts[1:], len(symbol)) - 1
        spans = zip(symbol[starts].tolist(), event_us[starts].tolist(), event_us[lasts].tolist(), strict=True)
        return [Mark(self.symbols.names[code], first_us, last_us, "again, in a doubt") for code, first_us, last_us in spans]

    def _at_scale(self, symbol: Array, columns: Columns, outcome: Outcome) -> tuple[Array, Array]:
        """Prices and sizes at their symbol's scale; a finer one rescales the symbol's bars, open or not committed yet."""
        symbols = self.symbols
        for scales, given, names in (
            ("price_scale", columns.price_scale, (*PRICES, *PRODUCTS)), ("size_scale", columns.size_scale, (*SIZES, *PRODUCTS)),
        ):  # fmt: skip
            have = getattr(symbols, scales)
            if (given > have[symbol]).any():
                finest = have.copy()
                np.maximum.at(finest, symbol, given)
                self._rescale(names, finest - have, outcome)
                setattr(symbols, scales, finest)
        price = times_powers(columns.price, symbols.price_scale[symbol] - columns.price_scale)
        size = times_powers(columns.size, symbols.size_scale[symbol] - columns.size_scale)
        return price, size

    def _rescale(self, names: tuple[str, ...], finer_by: Array, outcome: Outcome) -> None:
        for bars in [*self.open.values(), *(closed.bars for closed in outcome.closed.values())]:
            for name in names:
                setattr(bars, name, times_powers(getattr(bars, name), finer_by[bars.symbol]))

    def _note_clocks(self, symbol: Array, event_us: Array, arrived_ms: Array, segments: Array) -> None:
        symbols, codes = self.symbols, symbol[segments]
        fresh = codes[symbols.first_us[codes] < 0]
        if len(fresh):
            first = dict(zip(codes.tolist(), event_us[segments].tolist(), strict=True))
            symbols.first_us[fresh] = [first[code] for code in fresh.tolist()]
            if self.has_doubted:
                symbols.unproven_us[fresh] = symbols.first_us[fresh] + 1
        for name in self.watched & self.symbols.codes.keys():
            newer = (symbol == symbols.codes[name]) & (event_us > symbols.max_event_us[symbols.codes[name]])
            self._arrivals.setdefault(name, []).extend(np.unique(arrived_ms[newer]).tolist())
        newest, arrived = np.maximum.reduceat(event_us, segments), np.maximum.reduceat(arrived_ms, segments)
        newer = newest > symbols.max_event_us[codes]
        symbols.max_event_us[codes[newer]] = newest[newer]
        symbols.arrived_ms[codes[newer]] = arrived[newer]

    def _horizon_us(self) -> Array:
        """For each symbol, the start of the oldest bar that may be open: ids of older trades may be forgotten."""
        watermark = np.maximum(self.symbols.watermark_us, 0)
        starts: Array = np.min([watermark - watermark % length for length in self.lengths.values()], axis=0)
        return starts

    def _merge(self, base: Bars, some_late: bool, outcome: Outcome) -> None:
        """Add the new trades' bars to the open ones; parts of bars that are closed become marks."""
        ranges: dict[tuple[int, int], tuple[int, int]] = {}
        for timeframe, length in self.lengths.items():
            part = collapse(base, length_us=length) if length != self.base_us else base
            if some_late:
                closed = part.start_us + length <= self.symbols.watermark_us[part.symbol]
                if closed.any():
                    self._note_late(part.take(closed), ranges)
                    outcome.late += int(part.count[closed].sum()) if length == min(self.lengths.values()) else 0
                    part = part.take(~closed)
            self.open[timeframe] = collapse(self.open[timeframe], part, length_us=length)
        names = self.symbols.names
        outcome.marks += [Mark(names[code], *stamps, "late") for (code, _), stamps in ranges.items()]

    def _note_late(self, late: Bars, ranges: dict[tuple[int, int], tuple[int, int]]) -> None:
        rows = zip(late.symbol.tolist(), late.first_us.tolist(), late.last_us.tolist(), strict=True)
        for code, first_us, last_us in rows:
            key = (code, first_us // US_PER_DAY)
            first, last = ranges.get(key, (first_us, last_us))
            ranges[key] = (min(first, first_us), max(last, last_us))

    def _advance(self, now_ms: int, outcome: Outcome) -> Outcome:
        """Move the watermarks by the newest trades, and on quiet symbols by the stream's own time; close what they pass."""
        outcome.now_ms = now_ms
        symbols = self.symbols
        quiet_us = np.maximum(now_ms - symbols.arrived_ms, 0) * 1000
        symbols.watermark_us = np.maximum(symbols.watermark_us, symbols.max_event_us + quiet_us - self.lateness_us)
        closing: set[int] = set()
        for timeframe, length in self.lengths.items():
            bars = self.open[timeframe]
            passed = bars.start_us + length <= symbols.watermark_us[bars.symbol]
            if passed.any():
                self.open[timeframe] = bars.take(~passed)
                self._close(timeframe, bars.take(passed), outcome)
                closing.update(bars.symbol[passed].tolist())
        self._forget(closing)
        return outcome

    def _close(self, timeframe: str, bars: Bars, outcome: Outcome) -> None:
        length = self.lengths[timeframe]
        proved = bars.start_us >= self.symbols.unproven_us[bars.symbol]
        if self.doubting or not proved.all():
            unproved = bars.take(~proved) if not self.doubting else bars
            names = self.symbols.names
            outcome.marks += [
                Mark(names[code], start_us, start_us + length - 1, "not proved")
                for code, start_us in zip(unproved.symbol.tolist(), unproved.start_us.tolist(), strict=True)
            ]
            bars = bars.take(proved) if not self.doubting else no_bars()
        if len(bars):
            closed, earlier = Closed(bars, self._statuses(bars, length)), outcome.closed.get(timeframe)
            outcome.closed[timeframe] = earlier.followed_by(closed) if earlier else closed

    def _statuses(self, bars: Bars, length: int) -> list[str]:
        first_us = self.symbols.first_us[bars.symbol]
        partial = (bars.start_us <= first_us) & (first_us < bars.start_us + length)
        holes = {code: self.symbols.holes(code) for code in set(bars.symbol.tolist())}
        return [
            "gap" if any(hole.from_us < start + length and hole.to_us >= start for hole in holes[code])
            else "partial" if began else "complete"
            for code, start, began in zip(bars.symbol.tolist(), bars.start_us.tolist(), partial.tolist(), strict=True)
        ]  # fmt: skip

    def _forget(self, codes: set[int]) -> None:
        """Ids of stored trades whose bars are closed in every timeframe need no memory; in a doubt, none may be stored."""
        if codes:
            horizon_us, symbols = self._horizon_us(), self.symbols
            stored_us = np.zeros(len(symbols), dtype=int) if self.doubting else symbols.unstored.first_us(len(symbols))
            for code in codes:
                symbols.forget_before(code, int(horizon_us[code]), int(stored_us[code]))

    def open_bars(self, timeframe: str, codes: set[int]) -> Bars:
        """The open bars of some symbols."""
        bars = self.open[timeframe]
        return bars.take(np.isin(bars.symbol, list(codes)))

    def all_open(self) -> Bars:
        """Every open bar, of all timeframes."""
        return concatenate(*self.open.values())


def trade_order(symbol: Array, event_us: Array, seq: Array, trade_id: Array) -> Array:
    """Row numbers in the order (symbol, event_us, seq, trade_id); a feed in order costs one cheap sort."""
    order = np.argsort(symbol.astype(np.uint16) if int(symbol.max()) < 2**16 else symbol, kind="stable")
    codes, us, seqs, ids = symbol[order], event_us[order], seq[order], trade_id[order]
    later = us[1:] > us[:-1]
    same = us[1:] == us[:-1]
    follows = (seqs[1:] > seqs[:-1]) | ((seqs[1:] == seqs[:-1]) & (ids[1:] > ids[:-1]))
    if (later | (same & follows) | (codes[1:] != codes[:-1])).all():
        return order
    return np.lexsort((trade_id, seq, event_us, symbol))


def segments_of(symbol: Array) -> Array:
    """Where each symbol's rows begin, in rows sorted by symbol."""
    return np.flatnonzero(np.concatenate(([True], symbol[1:] != symbol[:-1])))
