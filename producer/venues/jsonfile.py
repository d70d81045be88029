"""Files with a JSON value a line: ticks of our own contract, Binance's stream messages, rows or pages of its REST."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from common.errors import InvalidTrade, MalformedMessage
from common.judge import Limits, judge
from common.trades import Trade
from producer.venues.archive import (
    AGG_TRADES,
    FUTURES,
    TRADES,
    UNNAMED,
    FileName,
    Occurrences,
    RowReject,
    Rows,
    add_tick,
    full_symbol,
)  # fmt: skip
from producer.venues.binance import event_trade, rest_trade
from producer.venues.fields import decimal_text, stamp_us, taker_side, whole_id


class JsonReader:
    """Each value is told by its fields; a line may also hold a list of values, or `{"ticks": [...]}`."""

    def __init__(self, name: FileName, symbol: str | None, limits: Limits) -> None:
        self._name, self._symbol, self._limits = name, symbol or name.symbol, limits
        self._occurrences = Occurrences()
        self._position = 0

    def read(self, lines: Sequence[str], first_number: int, entry_ms: int) -> Rows:
        """The judged trades of the next lines."""
        rows = Rows()
        for number, line in enumerate(lines, first_number):
            if line.strip():
                self._read_line(rows, number, line, entry_ms)
        return rows

    def _read_line(self, rows: Rows, number: int, line: str, entry_ms: int) -> None:
        try:
            values = list(_values(_load(line)))
        except MalformedMessage as exc:
            rows.rejects.append(RowReject(number, line, exc))
            return
        for value in values:
            try:
                trade, kind = self._trade(value)
                add_tick(rows, judge(trade, self._limits, entry_ms), kind, self._occurrences)
            except (InvalidTrade, MalformedMessage) as exc:
                rows.rejects.append(RowReject(number, line if len(values) == 1 else json.dumps(value), exc))
            self._position += 1

    def _trade(self, value: Any) -> tuple[Trade, str | None]:
        """A trade, not yet judged, and the kind of its id; None where it has none."""
        if type(value) is not dict:
            raise MalformedMessage(f"must be an object, was {str(value)[:80]}")
        body = value["data"] if "stream" in value and type(value.get("data")) is dict else value
        event = body.get("e")
        if event == "trade" or event == "aggTrade":
            trade = event_trade(body, event)
            futures = _is_futures(body, event) if self._name.futures is None else self._name.futures
            return (trade._replace(symbol=FUTURES + trade.symbol) if futures else trade), f"binance.{event}"
        if "a" in body and "T" in body and event is None:
            return rest_trade(body, self._default_symbol("M" not in body), "aggTrade"), AGG_TRADES
        if "isBuyerMaker" in body and "symbol" not in body:
            return rest_trade(body, self._default_symbol(False), "trade"), TRADES
        return self._tick(body)

    def _tick(self, body: dict[str, Any]) -> tuple[Trade, str | None]:
        """A tick of the contract; the id and the side may be left out."""
        symbol = body.get("symbol", self._symbol)
        for field, found in (("symbol", symbol), *((field, body.get(field)) for field in ("ts", "price", "size"))):
            if found is None:
                raise InvalidTrade(field, None, "is required")
        own_id, side = body.get("trade_id"), body.get("side")
        trade = Trade(
            _text("symbol", symbol),
            0 if own_id is None else whole_id(str(own_id)),
            stamp_us(_text_or_number("ts", body["ts"])),
            decimal_text("price", body["price"]),
            decimal_text("size", body["size"]),
            "" if side is None else taker_side(_text("side", side)),
            self._position if own_id is None else None,
        )
        return trade, None if own_id is None else self._name.kind or UNNAMED

    def _default_symbol(self, futures: bool) -> str:
        return full_symbol(self._symbol, futures if self._name.futures is None else self._name.futures)


def _is_futures(body: dict[str, Any], event: str) -> bool:
    """Spot messages carry `M`; USD-M ones `st` or `X`, and no `M`."""
    return "M" not in body and (event == "aggTrade" or "st" in body or "X" in body)


def _load(line: str) -> Any:
    """The value; numbers with a fraction as their text: a float would lose digits."""
    try:
        value = orjson.loads(line)
        return json.loads(line, parse_float=str) if _has_float(value) else value
    except (ValueError, RecursionError) as exc:
        raise MalformedMessage(f"not JSON: {exc}") from exc


def _has_float(value: Any) -> bool:
    if type(value) is dict:
        return any(type(part) is float or (type(part) in (dict, list) and _has_float(part)) for part in value.values())
    return type(value) is list and any(_has_float(part) for part in value)


def _values(value: Any) -> Iterator[Any]:
    if type(value) is list:
        yield from value
    elif type(value) is dict and type(value.get("ticks")) is list:
        yield from value["ticks"]
    else:
        yield value


def _text(field: str, value: Any) -> str:
    if type(value) is not str:
        raise InvalidTrade(field, value, "must be text")
    return value


def _text_or_number(field: str, value: Any) -> str:
    if type(value) is not str and type(value) is not int:
        raise InvalidTrade(field, value, "must be ISO 8601 with Z or an offset, or epoch ms or us")
    return str(value)
