"""Binance's spot market data routes: `/api/v3/...`, read only, over what is stored here.

Prices, arrays, limits and error codes are Binance's. What GEMS does not have is plain: bid and ask are zero, and one tick is
one aggregate of `aggTrades`.
"""

import time
from typing import Any

import orjson
from flask import Blueprint, Response, request

from web.api import stores
from web.binance import rows, shapes
from web.binance.errors import Refused, illegal
from web.binance.exchange import symbol_facts
from web.binance.intervals import Interval
from web.binance.params import Params
from web.binance.rows import known_venue_symbols

WEIGHT_A_MINUTE = 6000
blueprint = Blueprint("binance", __name__, url_prefix="/api/v3")


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), mimetype="application/json")


def _unit_us() -> int:
    """Microseconds in a unit of the stamps that the client asked for."""
    return 1 if request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND" else 1000


def _params() -> Params:
    return Params(request.args.to_dict())


@blueprint.get("/ping")
def ping() -> Response:
    """`{}`: the web answers"""
    return _json({})


@blueprint.get("/time")
def server_time() -> Response:
    """The web's clock"""
    return _json({"serverTime": time.time_ns() // 1000 // _unit_us()})


@blueprint.get("/exchangeInfo")
def exchange_info() -> Response:
    """Which symbols have ticks, and the steps of their prices and sizes"""
    known = known_venue_symbols(stores())
    symbols = _params().symbols(known) or sorted(known)
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_A_MINUTE}
    listed = [symbol_facts(*scaled) for scaled in rows.scales(stores(), symbols)]
    return _json({
        "timezone": "UTC", "serverTime": time.time_ns() // 1_000_000, "rateLimits": [limit], "exchangeFilters": [],
        "symbols": listed,
    })  # fmt: skip


@blueprint.get("/klines")
@blueprint.get("/uiKlines")
def klines() -> Response:
    """Bars of any of Binance's intervals, from the bars that are built; quiet slots stand at the close before them"""
    params = _params()
    symbol, interval = params.symbol(known_venue_symbols(stores())), Interval.parse(params.text("interval"))
    if params.given.get("timeZone", "0") not in ("0", "00:00", "+00:00", "-00:00"):
        raise illegal("timeZone", "0")
    start_us, end_us = params.times_us()
    slots, first_us, after_us = rows.slots_between(stores(), symbol, interval, start_us, end_us, params.limit())
    return _json(list(shapes.klines(interval, slots, first_us, after_us, _unit_us())))


@blueprint.get("/trades")
def trades() -> Response:
    """The newest ticks of a symbol, oldest first"""
    params = _params()
    symbol = params.symbol(known_venue_symbols(stores()))
    return _json([shapes.trade(row, _unit_us()) for row in rows.newest_ticks_of(stores(), symbol, params.limit())])


@blueprint.get("/historicalTrades")
def historical_trades() -> Response:
    """Ticks from an id on; without one, the newest"""
    params = _params()
    symbol, from_id = params.symbol(known_venue_symbols(stores())), params.whole("fromId")
    if from_id is None:
        return trades()
    found = rows.ticks_from_id(stores(), symbol, from_id, params.limit())
    return _json([shapes.trade(row, _unit_us()) for row in found])


@blueprint.get("/aggTrades")
def agg_trades() -> Response:
    """Ticks from an id on, or within times (both included), or the newest"""
    params = _params()
    symbol, from_id, limit = params.symbol(known_venue_symbols(stores())), params.whole("fromId"), params.limit()
    start_us, end_us = params.times_us()
    if from_id is not None:
        if start_us is not None or end_us is not None:
            raise Refused(-1128, "Combination of optional parameters invalid.")
        found = rows.ticks_from_id(stores(), symbol, from_id, limit)
    elif start_us is not None or end_us is not None:
        found = rows.ticks_between(stores(), symbol, start_us or 0, end_us, limit)
    else:
        found = rows.newest_ticks_of(stores(), symbol, limit)
    return _json([shapes.agg_trade(row, _unit_us()) for row in found])


@blueprint.get("/ticker/price")
def price() -> Response:
    """Price of the last trade of a symbol; of several or all, the close of their newest bar"""
    known = known_venue_symbols(stores())
    symbols = _params().symbols(known)
    if "symbol" in request.args and symbols:
        newest = rows.newest_tick(stores(), symbols[0])
        if newest is None:
            raise Refused(-1121, "Invalid symbol.")
        return _json({"symbol": symbols[0], "price": shapes.amount(newest[2])})
    listed = rows.latest_prices(stores(), symbols or sorted(known))
    return _json([{"symbol": symbol, "price": shapes.amount(close)} for symbol, close in listed])


@blueprint.get("/ticker/24hr")
def day() -> Response:
    """Sums over the day before a symbol's last trade"""
    params = _params()
    known = known_venue_symbols(stores())
    kind = params.given.get("type", "FULL")
    if kind not in ("FULL", "MINI"):
        raise illegal("type", "FULL|MINI")
    days = {symbol: rows.day_of(stores(), symbol) for symbol in params.symbols(known) or sorted(known)}
    tickers = [shapes.ticker(symbol, found, mini=kind == "MINI") for symbol, found in days.items() if found]
    if "symbol" in params.given and not tickers:
        raise Refused(-1121, "Invalid symbol.")
    return _json(tickers[0] if "symbol" in params.given else tickers)
