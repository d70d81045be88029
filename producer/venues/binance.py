"""Binance: WebSocket messages and REST pages in, trades out.

Source: binance-spot-api-docs, web-socket-streams.md and rest-api.md (July 2026). Stamps come in milliseconds or
microseconds and are told apart by magnitude. `m` says that the buyer was the maker, so the taker sold.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import orjson

from common.errors import MalformedMessage
from common.trades import Trade

Kind = Literal["trade", "aggTrade"]

US_FROM = 10**14  # smaller stamps are milliseconds
PAGE = 1000  # trades in a REST page at most
ID_KEY = {"trade": "t", "aggTrade": "a"}
_REST_ID_KEY = {"trade": "id", "aggTrade": "a"}
_REST_PATH = {"trade": "/api/v3/historicalTrades", "aggTrade": "/api/v3/aggTrades"}
#: Request weight of a page; the venue allows 6,000 a minute.
WEIGHT = {"trade": 25, "aggTrade": 4}
#: Asks REST for the microseconds that the stream gives too.
REST_HEADERS = {"X-MBX-TIME-UNIT": "MICROSECOND"}
USED_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"
_new_trade = tuple.__new__


class Control(NamedTuple):
    """A message that is no trade of ours."""

    name: Literal["ack", "refused", "shutdown", "unknown"]
    text: str  # what it says, at most 200 characters


def source_name(kind: str) -> str:
    """The `src` of ids of this kind.

    >>> source_name("aggTrade")
    'binance.aggTrade'
    """
    return f"binance.{kind}"


def stream_name(symbol: str, kind: str) -> str:
    """Name of a symbol's stream.

    >>> stream_name("BTCUSDT", "trade")
    'btcusdt@trade'
    """
    return f"{symbol.lower()}@{kind}"


def stream_url(ws_url: str, symbols: Sequence[str], kind: str) -> str:
    """Address that subscribes to all the symbols at once, stamps in microseconds."""
    names = "/".join(stream_name(symbol, kind) for symbol in symbols)
    return f"{ws_url}/stream?streams={names}&timeUnit=MICROSECOND"


def parse_message(text: bytes | str, kind: str) -> Trade | Control:
    """A trade of that kind, as the venue wrote it and not yet judged, or what else the message is.

    Raises:
        MalformedMessage: not JSON, or a trade with a field missing or of another type.
    """
    body = _loads(text)
    if type(body) is not dict:
        raise MalformedMessage(f"a message must be an object, was {_short(text)}")
    if "stream" in body and type(body.get("data")) is dict:
        body = body["data"]
    if body.get("e") == kind:
        return event_trade(body, kind)
    return _control(body, text)


def event_trade(body: dict[str, Any], kind: str) -> Trade:
    """The trade of a `trade` or `aggTrade` event."""
    try:
        return _trade(body["s"], body[ID_KEY[kind]], body["T"], body["p"], body["q"], body["m"])
    except KeyError as exc:
        raise MalformedMessage(f"{kind} without {exc.args[0]}: {_short(body)}") from exc


def rest_trade(item: Any, symbol: str, kind: str) -> Trade:
    """The trade of one element of a REST page."""
    try:
        if kind == "aggTrade":
            return _trade(symbol, item["a"], item["T"], item["p"], item["q"], item["m"])
        return _trade(symbol, item["id"], item["time"], item["price"], item["qty"], item["isBuyerMaker"])
    except (KeyError, TypeError) as exc:
        raise MalformedMessage(f"{kind} of a REST page without {exc}: {_short(item)}") from exc


def page_path(symbol: str, kind: str, from_id: int, limit: int = PAGE) -> str:
    """Path and query of the trades from an id on, the id included."""
    query = {"symbol": symbol, "fromId": from_id, "limit": limit}
    return f"{_REST_PATH[kind]}?{urlencode(query)}"


def parse_page(text: bytes, symbol: str, kind: str) -> list[Trade]:
    """The trades of a `historicalTrades`, `trades` or `aggTrades` page, oldest first.

    Raises:
        MalformedMessage: not such a page.
    """
    page = _loads(text)
    if type(page) is not list:
        raise MalformedMessage(f"a page of trades must be a list, was {_short(text)}")
    return [rest_trade(item, symbol, kind) for item in page]


def first_since_path(symbol: str, since_ms: int) -> str:
    """Path and query of the first aggregate trade at or after a time: both id spaces can be entered through it."""
    return f"/api/v3/aggTrades?{urlencode({'symbol': symbol, 'startTime': since_ms, 'limit': 1})}"


def parse_first(text: bytes, kind: str) -> tuple[int, int] | None:
    """The id, of that kind, and the stamp (us) of the first trade in the answer to `first_since_path`; None if there was none."""
    page = _loads(text)
    if type(page) is not list:
        raise MalformedMessage(f"a page of trades must be a list, was {_short(text)}")
    if not page:
        return None
    first = page[0] if type(page[0]) is dict else {}
    found, stamp = first.get("f" if kind == "trade" else "a"), first.get("T")
    if type(found) is not int or type(stamp) is not int:
        raise MalformedMessage(f"an aggregate trade without ids or time: {_short(page[0])}")
    return found, stamp if stamp >= US_FROM else stamp * 1000


def parse_refusal(text: bytes) -> str:
    """The sentence in a REST error body: `{"code": -1121, "msg": "Invalid symbol."}`."""
    try:
        body = orjson.loads(text)
        return f"{body['msg']} (code {body['code']})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _short(text)


def _trade(symbol: Any, trade_id: Any, stamp: Any, price: Any, size: Any, buyer_is_maker: Any) -> Trade:
    """Types are checked here, values by the judge. A decimal sent as a JSON number would have lost digits: refused."""
    if type(trade_id) is not int or type(stamp) is not int:
        raise MalformedMessage(f"id and time must be whole numbers, were {trade_id!r} and {stamp!r}")
    if type(price) is not str or type(size) is not str or type(symbol) is not str:
        raise MalformedMessage(f"symbol, price and quantity must be text, were {symbol!r}, {price!r} and {size!r}")
    if buyer_is_maker is not True and buyer_is_maker is not False:
        raise MalformedMessage(f"the maker's side must be true or false, was {buyer_is_maker!r}")
    side = "s" if buyer_is_maker else "b"
    return _new_trade(Trade, (symbol, trade_id, stamp if stamp >= US_FROM else stamp * 1000, price, size, side, None))


def _control(body: dict[str, Any], text: bytes | str) -> Control:
    if body.get("e") == "serverShutdown":
        return Control("shutdown", _short(text))
    if "code" in body or "error" in body:
        return Control("refused", _short(text))
    if "result" in body and "id" in body:
        return Control("ack", _short(text))
    return Control("unknown", _short(text))


def _loads(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise MalformedMessage(f"not JSON ({exc}): {_short(text)}") from exc


def _short(found: object) -> str:
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
    return text if len(text) <= 200 else text[:197] + "..."
