"""Binance's spot messages as text: trades out, requests in, errors both ways. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_TRUTH = ("false", "true")


class Fill(NamedTuple):
    """A raw trade; price, size and quote (price x size) are decimal text as served."""

    id: int
    price: str
    size: str
    quote: str
    time_us: int
    buyer_is_maker: bool
    best_match: bool = True


class Aggregate(NamedTuple):
    """An aggTrade of the trades `[first_id, last_id]`."""

    agg_id: int
    price: str
    size: str
    first_id: int
    last_id: int
    time_us: int
    buyer_is_maker: bool
    best_match: bool = True


Print = Fill | Aggregate
"""What the tape shows: one event of `@trade` or of `@aggTrade`."""


@dataclass(frozen=True)
class Wire:
    """How a connection wants its events: wrapped with the stream's name, and times in microseconds."""

    combined: bool
    microseconds: bool


def stream_name(symbol: str, kind: str) -> str:
    """`btcusdt@trade`."""
    return f"{symbol.lower()}@{kind}"


def trade_messages(symbol: str, kind: str, prints: Iterable[Any], event_us: int | None, wire: Wire) -> list[str]:
    """The messages of one stream, in order. `event_us` is the time of sending; None: each print's own time."""
    unit = 1 if wire.microseconds else 1000
    head, tail = (f'{{"stream":"{stream_name(symbol, kind)}","data":', "}") if wire.combined else ("", "")
    event = event_us // unit if event_us is not None else None
    start = f'{head}{{"e":"{kind}","E":'
    if kind == "trade":
        return [
            f'{start}{time_us // unit if event is None else event},"s":"{symbol}","t":{trade_id},"p":"{price}","q":"{size}",'
            f'"T":{time_us // unit},"m":{_TRUTH[maker]},"M":{_TRUTH[best]}}}{tail}'
            for trade_id, price, size, _, time_us, maker, best in prints
        ]
    return [
        f'{start}{time_us // unit if event is None else event},"s":"{symbol}","a":{agg_id},"p":"{price}","q":"{size}",'
        f'"f":{first_id},"l":{last_id},"T":{time_us // unit},"m":{_TRUTH[maker]},"M":{_TRUTH[best]}}}{tail}'
        for agg_id, price, size, first_id, last_id, time_us, maker, best in prints
    ]


def shutdown_message(now_us: int, wire: Wire) -> str:
    """The warning that the server closes this connection soon."""
    raw = f'{{"e":"serverShutdown","E":{now_us if wire.microseconds else now_us // 1000}}}'
    return f'{{"stream":"!serverShutdown","data":{raw}}}' if wire.combined else raw


class _Headers(dict[int, str]):
    """Header of an unmasked text frame by the payload's length; made once for each."""

    def __missing__(self, length: int) -> str:
        size = 0 if length < 126 else 2 if length < 65536 else 8
        made = bytes([0x81, {0: length, 2: 126, 8: 127}[size]]) + (length.to_bytes(size) if size else b"")
        self[length] = made.decode("latin-1")
        return self[length]


_HEADERS = _Headers()


def frames(messages: list[str]) -> bytes:
    """Messages (ASCII) as unmasked WebSocket text frames, ready for the socket."""
    return "".join([part for text in messages for part in (_HEADERS[len(text)], text)]).encode("latin-1")


@dataclass(frozen=True)
class Request:
    """A control message that makes sense."""

    method: str
    params: tuple[Any, ...]
    id: int | str | None


def request(text: str) -> Request | str:
    """A control message's request, or the error to answer with."""
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError) as exc:
        line, column = getattr(exc, "lineno", 1), getattr(exc, "colno", 1)
        return error(3, f"Invalid JSON: expected value at line {line} column {column}")
    if not isinstance(asked, dict) or "method" not in asked:
        return error(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
    if not _is_id(asked.get("id")):
        return error(2, "Invalid request: request ID must be an unsigned integer")
    if asked["method"] not in METHODS:
        expected = ", ".join(f"`{method}`" for method in METHODS)
        return error(2, f"Invalid request: unknown variant `{asked['method']}`, expected one of {expected} at line 1 column 28")
    params = asked.get("params")
    return _checked(Request(asked["method"], tuple(params) if isinstance(params, list) else (), asked.get("id")))


def answer(asked: Request, result: Any) -> str:
    """The acknowledgement of a request."""
    return json.dumps({"result": result, "id": asked.id}, separators=(",", ":"))


def error(code: int, msg: str, request_id: int | str | None = None) -> str:
    """An error as WebSocket and REST both write it."""
    body = {"code": code, "msg": msg} | ({"id": request_id} if request_id is not None else {})
    return json.dumps(body, separators=(",", ":"))


def fill_json(fill: Fill, unit: int) -> dict[str, Any]:
    """A trade as `trades` and `historicalTrades` give it; `unit` is microseconds a served time unit."""
    return {
        "id": fill.id, "price": fill.price, "qty": fill.size, "quoteQty": fill.quote, "time": fill.time_us // unit,
        "isBuyerMaker": fill.buyer_is_maker, "isBestMatch": fill.best_match,
    }  # fmt: skip


def aggregate_json(agg: Aggregate, unit: int) -> dict[str, Any]:
    """An aggregate as `aggTrades` gives it."""
    return {
        "a": agg.agg_id, "p": agg.price, "q": agg.size, "f": agg.first_id, "l": agg.last_id, "T": agg.time_us // unit,
        "m": agg.buyer_is_maker, "M": agg.best_match,
    }  # fmt: skip


def _checked(asked: Request) -> Request | str:
    params = asked.params
    if asked.method in ("SUBSCRIBE", "UNSUBSCRIBE") and not (params and all(isinstance(name, str) for name in params)):
        return error(2, "Invalid request: params must be a list of stream names", asked.id)
    if asked.method == "LIST_SUBSCRIPTIONS" and params:
        return error(2, "Invalid request: too many parameters", asked.id)
    if not asked.method.endswith("_PROPERTY"):
        return asked
    if not params or not isinstance(params[0], str):
        return error(2, "Invalid request: property name must be a string", asked.id)
    if len(params) > (2 if asked.method == "SET_PROPERTY" else 1):
        return error(2, "Invalid request: too many parameters", asked.id)
    if params[0] != "combined":
        return error(0, "Unknown property", asked.id)
    if asked.method == "SET_PROPERTY" and not isinstance(params[1] if len(params) > 1 else None, bool):
        return error(1, "Invalid value type: expected Boolean", asked.id)
    return asked


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 36 and value.isalnum()
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63)
