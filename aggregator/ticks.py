"""Trades as live events tell them, where `GEMS_LIVE_TICKS` is on: as they are read, before they are in bars. Pure."""

from typing import Any

from common.events import Event

#: Trades in one event at most: after a standstill thousands come at once.
MOST = 500


def tick_events(rows: bytes) -> list[Event]:
    """Canonical rows of the stream as events `tick`: of each symbol, its next trades in their order.

    Prices and sizes are JSON numbers, as those of bars are; `side` is the taker's, None where nobody told it.
    """
    of_symbol: dict[str, list[dict[str, Any]]] = {}
    for row in rows.decode().splitlines():
        symbol, trade_id, stamp, price, size, side, _ = row.split(",")
        tick = {"timestamp": stamp, "price": float(price), "size": float(size), "side": side or None, "trade_id": int(trade_id)}
        of_symbol.setdefault(symbol, []).append(tick)
    return [
        Event("tick", {"symbol": symbol, "ticks": ticks[at : at + MOST]})
        for symbol, ticks in of_symbol.items()
        for at in range(0, len(ticks), MOST)
    ]
