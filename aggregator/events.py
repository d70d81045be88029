"""Bars as live events tell them: numbers as JSON numbers, exact to 15 digits. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from aggregator.bars import Bars
from aggregator.barstore import Settled
from aggregator.core import Closed, Core
from aggregator.symbols import Symbols
from common.codec import iso_us
from common.events import Event
from common.trades import to_us


def closed_events(closed: Mapping[str, Closed], settled: Iterable[Settled], symbols: Symbols) -> list[Event]:
    """An event for each bar that is new or changed, by time."""
    bodies = {
        (body["symbol"], timeframe, start_us): {**body, "status": status}
        for timeframe, rows in closed.items()
        for (start_us, body), status in zip(_bodies(timeframe, rows.bars, symbols), rows.status, strict=True)
    }
    events = []
    for symbol, timeframe, timestamp, revision, is_new in settled:
        body = bodies[symbol, timeframe, to_us(timestamp)]
        events.append(Event("bar" if is_new else "bar.revised", {**body, "closed": True, "revision": revision}))
    return sorted(events, key=lambda event: str(event.body["timestamp"]))


def open_events(core: Core, codes: set[int]) -> list[Event]:
    """An event for each open bar of some symbols."""
    return [
        Event("bar.open", {**body, "closed": False})
        for timeframe in core.lengths
        for _, body in _bodies(timeframe, core.open_bars(timeframe, codes), core.symbols)
    ]


def _bodies(timeframe: str, bars: Bars, symbols: Symbols) -> list[tuple[int, dict[str, Any]]]:
    columns = [column.tolist() for column in bars.columns()]
    made = []
    for code, start_us, o, h, low, c, volume, taker, quote, taker_quote, count, *_ in zip(*columns, strict=True):
        p, s = 10 ** int(symbols.price_scale[code]), 10 ** int(symbols.size_scale[code])
        body = {
            "symbol": symbols.names[code], "timeframe": timeframe, "timestamp": iso_us(start_us),
            "open": o / p, "high": h / p, "low": low / p, "close": c / p, "volume": volume / s, "tick_count": count,
            "quote_volume": quote / (p * s), "taker_buy_volume": taker / s, "taker_buy_quote_volume": taker_quote / (p * s),
            "vwap": quote / (p * volume),
        }  # fmt: skip
        made.append((start_us, body))
    return made
