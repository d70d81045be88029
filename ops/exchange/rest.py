"""Binance's spot REST routes over a tape, with its weights, limits and errors."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from aiohttp import web

from ops.exchange.hub import Hub
from ops.exchange.instruments import WIRE_DECIMALS, decimal_text, instrument_of
from ops.exchange.limits import WEIGHT_A_MINUTE, WeightLimit
from ops.exchange.protocol import Aggregate, Fill, aggregate_json, fill_json

DEFAULT_LIMIT, LARGEST_LIMIT = 500, 1000
_MICROSECONDS_FROM = 10**14
_HISTORY = "/api/v3/historicalTrades"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Tape(Protocol):
    """What the exchange has traded so far."""

    symbols: tuple[str, ...]

    def fills(self, symbol: str, from_id: int | None, limit: int) -> list[Fill]:
        """Trades by id ascending from `from_id` on; None: the newest."""
        ...

    def aggregates(
        self, symbol: str, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[Aggregate]:
        """aggTrades ascending from an id or a time on, or the newest, up to `end_us` inclusive."""
        ...

    def state(self) -> dict[str, dict[str, object]]:
        """Each symbol's newest ids, price and time."""
        ...

    def drop_old(self, now_us: int) -> None:
        """Forget what is too old."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Refused(Exception):
    """A request that Binance answers with status 400 and a code."""

    def __init__(self, code: int, msg: str) -> None:
        self.code, self.msg = code, msg
        super().__init__(msg)


@dataclass(frozen=True)
class Query:
    """A request's parameters, each read once; what nobody read is refused."""

    given: Mapping[str, str]
    allowed: tuple[str, ...]

    def __post_init__(self) -> None:
        unread = [name for name in self.given if name not in self.allowed]
        if unread:
            read, sent = len(self.given) - len(unread), len(self.given)
            raise Refused(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")

    def symbol(self, known: tuple[str, ...]) -> str:
        """The mandatory symbol."""
        symbol = self.given.get("symbol", "")
        if not symbol:
            raise Refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in known:
            raise Refused(-1121, "Invalid symbol.")
        return symbol

    def number(self, name: str) -> int | None:
        """A whole number, or None where it was not sent."""
        text = self.given.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return min(int(text), 2**62)

    def limit(self) -> int:
        """Rows wanted: 500 by default, 1000 at most."""
        limit = self.number("limit")
        if limit == 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or DEFAULT_LIMIT, LARGEST_LIMIT)

    def time_us(self, name: str, end: bool = False) -> int | None:
        """A time in ms or us, told apart by size; the end of a millisecond where `end`."""
        stamp = self.number(name)
        if stamp is None or stamp >= _MICROSECONDS_FROM:
            return stamp
        return stamp * 1000 + (999 if end else 0)


class RestApi:
    """The routes under /api/v3/, each with its weight."""

    def __init__(self, tape: Tape, hub: Hub) -> None:
        self._tape, self._hub = tape, hub
        self._limits: dict[str, WeightLimit] = {}
        self.refused = 0
        self._weights = {
            "/api/v3/ping": 1, "/api/v3/time": 1, "/api/v3/exchangeInfo": 20, "/api/v3/trades": 25, _HISTORY: 25,
            "/api/v3/aggTrades": 4,
        }  # fmt: skip

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.get("/api/v3/ping", self.ping),
            web.get("/api/v3/time", self.time),
            web.get("/api/v3/exchangeInfo", self.exchange_info),
            web.get("/api/v3/trades", self.trades),
            web.get(_HISTORY, self.trades),
            web.get("/api/v3/aggTrades", self.agg_trades),
        ]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Charge the weight, turn refusals into Binance's errors, add its headers."""
        if not request.path.startswith("/api/"):
            return await handler(request)
        limit = self._limits.setdefault(request.remote or "", WeightLimit())
        status, wait_s = limit.charge(self._weights.get(request.path, 1), time.time())
        if self._hub.faults.rest_status:
            status, wait_s = self._hub.faults.rest_status, self._hub.faults.retry_after_s
        self.refused += status != 200
        response = await handler(request) if status == 200 else _too_many(status, wait_s)
        response.headers["X-MBX-USED-WEIGHT"] = response.headers["X-MBX-USED-WEIGHT-1M"] = str(limit.used)
        return response

    async def ping(self, request: web.Request) -> web.Response:
        """{} as long as the exchange lives."""
        return _json({})

    async def time(self, request: web.Request) -> web.Response:
        """The exchange's clock."""
        return _json({"serverTime": time.time_ns() // 1000 // _unit_us(request)})

    async def exchange_info(self, request: web.Request) -> web.Response:
        """What is traded, on which grids, under which limits."""
        try:
            wanted = self._wanted(Query(request.query, ("symbol", "symbols", "permissions", "showPermissionSets")))
        except Refused as exc:
            return _refusal(exc)
        return _json({
            "timezone": "UTC", "serverTime": time.time_ns() // 1_000_000, "exchangeFilters": [],
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_A_MINUTE},
            ],
            "symbols": [_symbol_json(symbol) for symbol in wanted],
        })  # fmt: skip

    async def trades(self, request: web.Request) -> web.Response:
        """`trades` (the newest) and `historicalTrades` (from an id on)."""
        history = request.path == _HISTORY
        try:
            query = Query(request.query, ("symbol", "limit", "fromId") if history else ("symbol", "limit"))
            symbol, from_id, limit = query.symbol(self._tape.symbols), query.number("fromId"), query.limit()
        except Refused as exc:
            return _refusal(exc)
        unit = _unit_us(request)
        return _json([fill_json(fill, unit) for fill in self._tape.fills(symbol, from_id, limit)])

    async def agg_trades(self, request: web.Request) -> web.Response:
        """`aggTrades`: from an id on, or within times, both inclusive; else the newest."""
        try:
            query = Query(request.query, ("symbol", "fromId", "startTime", "endTime", "limit"))
            symbol, from_id, limit = query.symbol(self._tape.symbols), query.number("fromId"), query.limit()
            start_us, end_us = query.time_us("startTime"), query.time_us("endTime", end=True)
            if from_id is not None and (start_us is not None or end_us is not None):
                raise Refused(-1128, "Combination of optional parameters invalid.")
        except Refused as exc:
            return _refusal(exc)
        unit = _unit_us(request)
        return _json([aggregate_json(agg, unit) for agg in self._tape.aggregates(symbol, from_id, start_us, end_us, limit)])

    def _wanted(self, query: Query) -> tuple[str, ...]:
        if "symbol" in query.given:
            return (query.symbol(self._tape.symbols),)
        if "symbols" not in query.given:
            return self._tape.symbols
        try:
            wanted = orjson.loads(query.given["symbols"])
        except ValueError:
            wanted = None
        if not isinstance(wanted, list):
            raise Refused(-1100, "Illegal characters found in parameter 'symbols'.")
        if not all(symbol in self._tape.symbols for symbol in wanted):
            raise Refused(-1121, "Invalid symbol.")
        return tuple(wanted)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", charset="UTF-8")


def _refusal(exc: Refused) -> web.Response:
    return _json({"code": exc.code, "msg": exc.msg}, 400)


def _too_many(status: int, wait_s: int) -> web.Response:
    msg = f"Too much request weight used; current limit is {WEIGHT_A_MINUTE} request weight per 1 MINUTE."
    if status == 418:
        msg = f"Way too much request weight used; IP banned until {time.time_ns() // 1_000_000 + wait_s * 1000}."
    response = _json({"code": -1003, "msg": msg} if status in (418, 429) else {"code": -1000, "msg": "An unknown error."}, status)
    response.headers["Retry-After"] = str(wait_s)
    return response


def _unit_us(request: web.Request) -> int:
    return 1 if request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND" else 1000


def _symbol_json(symbol: str) -> dict[str, Any]:
    instrument = instrument_of(symbol)
    tick, lot = decimal_text(1, instrument.price_decimals), decimal_text(1, instrument.size_decimals)
    return {
        "symbol": symbol, "status": "TRADING", "baseAsset": instrument.base, "baseAssetPrecision": WIRE_DECIMALS,
        "quoteAsset": instrument.quote, "quotePrecision": WIRE_DECIMALS, "quoteAssetPrecision": WIRE_DECIMALS,
        "orderTypes": ["LIMIT", "MARKET"], "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
        ],
        "permissionSets": [["SPOT"]],
    }  # fmt: skip
