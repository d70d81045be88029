"""TradingView's Universal Data Feed: `/udf/...`, read only. A TradingView chart with this address draws what is stored here.

https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF/
"""

import time
from typing import Any

import orjson
from flask import Blueprint, Response, request

from web.api import stores
from web.binance import rows
from web.binance.errors import Refused
from web.binance.exchange import base_and_quote
from web.binance.intervals import Interval
from web.binance.rows import known_venue_symbols
from web.errors import bad

#: TradingView's name of a resolution -> ours.
RESOLUTIONS = {
    "1S": "1s", "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h",
    "480": "8h", "720": "12h", "1D": "1d", "D": "1d", "3D": "3d", "1W": "1w", "W": "1w", "1M": "1M", "M": "1M",
}  # fmt: skip
MAX_BARS = 10_000
_EXCHANGE = "GEMS"
_LAST_S = 253_402_300_799  # the end of the year 9999
blueprint = Blueprint("udf", __name__, url_prefix="/udf")


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), mimetype="application/json")


def _error(sentence: str) -> Response:
    """UDF's own shape of a failure, with status 200."""
    return _json({"s": "error", "errmsg": sentence})


def _resolutions() -> list[str]:
    """Those that the timeframes that are built fill."""
    return [name for name in RESOLUTIONS if name[0].isdigit() and _is_filled(RESOLUTIONS[name])]


def _is_filled(interval: str) -> bool:
    try:
        return bool(Interval(interval).source(stores().settings.timeframes))
    except Refused:
        return False


@blueprint.get("/config")
def config() -> Response:
    """What this feed can do"""
    exchange = {"value": _EXCHANGE, "name": _EXCHANGE, "desc": "What GEMS has stored"}
    return _json({
        "supported_resolutions": _resolutions(), "supports_search": True, "supports_group_request": False, "supports_time": True,
        "supports_marks": False, "supports_timescale_marks": False, "exchanges": [exchange],
        "symbols_types": [{"name": "crypto", "value": "crypto"}],
    })  # fmt: skip


@blueprint.get("/time")
def server_time() -> Response:
    """Seconds since 1970"""
    return Response(str(int(time.time())), mimetype="text/plain")


@blueprint.get("/symbols")
def symbol_facts() -> Response:
    """A symbol as a chart wants to know it"""
    symbol = request.args.get("symbol", "").removeprefix(f"{_EXCHANGE}:")
    if symbol not in known_venue_symbols(stores()):
        return _error("unknown_symbol")
    _, price_digits, size_digits = rows.scales(stores(), [symbol])[0]
    seconds = [name for name in _resolutions() if name.endswith("S")]
    return _json({
        "name": symbol, "ticker": symbol, "description": _description(symbol), "type": "crypto", "session": "24x7",
        "timezone": "Etc/UTC", "exchange": _EXCHANGE, "listed_exchange": _EXCHANGE, "format": "price", "minmov": 1,
        "pricescale": 10 ** (2 if price_digits is None else price_digits), "volume_precision": size_digits or 0,
        "has_intraday": True, "has_seconds": bool(seconds), "seconds_multipliers": [name.rstrip("S") for name in seconds],
        "has_daily": True, "has_weekly_and_monthly": True, "supported_resolutions": _resolutions(), "data_status": "streaming",
    })  # fmt: skip


def _description(symbol: str) -> str:
    return " / ".join(filter(None, base_and_quote(symbol)))


@blueprint.get("/search")
def search() -> Response:
    """Symbols whose name holds the query"""
    wanted, limit = request.args.get("query", "").upper(), min(_whole("limit", 30), 1000)
    found = [symbol for symbol in sorted(known_venue_symbols(stores())) if wanted in symbol][:limit]
    return _json([
        {"symbol": symbol, "full_name": symbol, "ticker": symbol, "description": _description(symbol), "exchange": _EXCHANGE,
         "type": "crypto"}
        for symbol in found
    ])  # fmt: skip


@blueprint.get("/history")
def history() -> Response:
    """Bars that start in `[from, to)`, or the newest `countback` before `to`; slots in which nobody traded are left out"""
    symbol, resolution = request.args.get("symbol", "").removeprefix(f"{_EXCHANGE}:"), request.args.get("resolution", "")
    if symbol not in known_venue_symbols(stores()):
        return _error("unknown_symbol")
    if resolution not in RESOLUTIONS or not _is_filled(RESOLUTIONS[resolution]):
        return _error(f"unknown resolution {resolution[:20]!r}")
    interval = Interval(RESOLUTIONS[resolution])
    from_us, until_us = _whole("from", 0) * 1_000_000, _whole("to", _LAST_S) * 1_000_000 - 1
    countback = min(_whole("countback", 0), MAX_BARS)
    slots, first_us, _ = rows.slots_between(
        stores(), symbol, interval, None if countback else from_us, until_us, countback or MAX_BARS
    )
    drawn = [slot for slot in slots if slot.trades and slot.start_us >= first_us]
    if not drawn:
        return _json({"s": "no_data", **({"nextTime": slots[0].start_us // 1_000_000} if slots else {})})
    columns = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    told = {short: [float(getattr(slot, name)) for slot in drawn] for short, name in columns.items()}
    return _json({"s": "ok", "t": [slot.start_us // 1_000_000 for slot in drawn], **told})


def _whole(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise bad(name, f"must be a whole number from 0, was {text[:60]!r}")
    return min(int(text), _LAST_S)
