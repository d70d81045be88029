"""Bars as live events tell them: numbers as JSON numbers, exact to 15 digits. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from aggregator.bars import Bars, floats, quotients, times_powers
from aggregator.barstore import Settled
from aggregator.core import Closed, Core
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.events import Event
from common.trades import from_us

_FIELDS = (
    "symbol", "timeframe", "timestamp", "open", "high", "low", "close", "volume", "tick_count", "quote_volume",
    "taker_buy_volume", "taker_buy_quote_volume", "vwap",
)  # fmt: skip
_NEW = Settled("", "", from_us(0), 0, is_new=True)


def closed_events(closed: Mapping[str, Closed], settled: Iterable[Settled] | None, symbols: Symbols) -> list[Event]:
    """An event for each bar that is new or changed, by time; `settled` None: all are new."""
    known = None if settled is None else {bar[:3]: bar for bar in settled}
    events = []
    for timeframe, rows in closed.items():
        for body, start_us, status in zip(*_bodies(timeframe, rows.bars, symbols), rows.status, strict=True):
            bar = _NEW if known is None else known.get((body["symbol"], timeframe, from_us(start_us)))
            if bar:
                body |= {"status": status, "closed": True, "revision": bar.revision}
                events.append(Event("bar" if bar.is_new else "bar.revised", body))
    return sorted(events, key=lambda event: str(event.body["timestamp"]))


def open_events(core: Core, codes: set[int]) -> list[Event]:
    """An event for each open bar of some symbols."""
    return [
        Event("bar.open", body | {"closed": False})
        for timeframe in core.lengths
        for body in _bodies(timeframe, core.open_bars(timeframe, codes), core.symbols)[0]
    ]


def _bodies(timeframe: str, bars: Bars, symbols: Symbols) -> tuple[list[dict[str, Any]], list[int]]:
    """What is told of bars of any kind, and when each begins."""
    price, size = symbols.price_scale[bars.symbol], symbols.size_scale[bars.symbol]
    numbers = [
        *(floats(column, price) for column in (bars.open, bars.high, bars.low, bars.close)),
        floats(bars.volume, size), bars.count, floats(bars.quote, price + size), floats(bars.taker_buy, size),
        floats(bars.taker_quote, price + size), quotients(bars.quote, times_powers(bars.volume, price)),
    ]  # fmt: skip
    starts, names = bars.start_us.tolist(), symbols.names
    text_of = {start_us: iso_us(start_us) for start_us in set(starts)}
    rows = zip(bars.symbol.tolist(), starts, *[column.tolist() for column in numbers], strict=True)
    return [
        dict(zip(_FIELDS, (names[code], timeframe, text_of[start_us], *values), strict=True)) for code, start_us, *values in rows
    ], starts
