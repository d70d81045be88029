"""Ticks as clients post them -> judged trades, all or none. Pure: the time of the request is an argument."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from common.errors import InvalidTrade
from common.judge import MAX_ID, Limits, content_id, judge
from common.trades import Trade
from web.api import NumberText
from web.errors import Problem
from web.schemas import STAMPS, stamp_us

MAX_TICKS = 100_000
MAX_ERRORS = 20
#: Ids of clients that name no exchange.
DEFAULT_SOURCE = "api.trade"
_DECIMAL = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,19}", re.ASCII)
_SOURCE = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_SIDES = {"buy": "b", "b": "b", "sell": "s", "s": "s", "": ""}


class Posted(NamedTuple):
    """The trades of a request: with the client's ids, and with ids made from content."""

    identified: list[Trade]
    anonymous: list[Trade]
    source: str | None  # what the client says its ids are


def read_posted(body: Any, limits: Limits, now_ms: int) -> Posted:
    """The trades of a body `{"ticks": [...], "source"?}` whose numbers are `NumberText`.

    Raises:
        Problem: 400, naming each bad field such as `ticks[3].price` (the first 20).
    """
    if not isinstance(body, Mapping):
        raise Problem(400, 'the body must be an object such as {"ticks": [...]}', "body")
    ticks = body.get("ticks")
    if not isinstance(ticks, list) or not ticks:
        raise Problem(400, "ticks must be a list of at least one tick", "ticks")
    if len(ticks) > MAX_TICKS:
        raise Problem(413, f"ticks must be at most {MAX_TICKS:,}, was {len(ticks):,}; send more requests", "ticks")
    source = _source(body.get("source"))
    trades, errors = _judge_all(ticks, limits, now_ms)
    if errors:
        field, sentence = next(iter(errors.items()))
        raise Problem(400, f"{field} {sentence}; nothing was stored", field, errors)
    return Posted([t for t, own in trades if own], _with_content_ids([t for t, own in trades if not own]), source)


def _source(source: Any) -> str | None:
    """`api` itself is what ticks without ids are registered as, so it names no ids."""
    if source is None:
        return None
    if not isinstance(source, str) or isinstance(source, NumberText) or not _SOURCE.fullmatch(source) or source == "api":
        raise Problem(400, f"source must name a kind of trade ids such as binance.trade, was {source!r:.60}", "source")
    return source


def _judge_all(ticks: Sequence[Any], limits: Limits, now_ms: int) -> tuple[list[tuple[Trade, bool]], dict[str, str]]:
    """Each trade with whether its id is the client's; and what is wrong, by field."""
    trades: list[tuple[Trade, bool]] = []
    errors: dict[str, str] = {}
    for number, tick in enumerate(ticks):
        try:
            trade = _to_trade(tick, number)
            trades.append((judge(trade, limits, now_ms), trade.seq is None))
        except InvalidTrade as exc:
            field = "ts" if exc.field == "timestamp" else exc.field
            where = f"ticks[{number}].{field}" if field else f"ticks[{number}]"
            value = tick.get(field, exc.value) if isinstance(tick, Mapping) else exc.value
            errors[where] = f"{exc.reason}, was {_shown(value)}"
            if len(errors) == MAX_ERRORS:
                break
    return trades, errors


def _to_trade(tick: Any, number: int) -> Trade:
    """The form of one tick, not yet judged. `seq` is its position where the client gave no id, else None."""
    if not isinstance(tick, Mapping):
        raise InvalidTrade("", tick, "must be an object with symbol, ts, price and size")
    for field in ("symbol", "ts", "price", "size"):
        if tick.get(field) is None:
            raise InvalidTrade(field, None, "is required")
    own_id = tick.get("trade_id")
    return Trade(
        _text("symbol", tick["symbol"]), 0 if own_id is None else _trade_id(own_id), _stamp(tick["ts"]),
        _decimal("price", tick["price"]), _decimal("size", tick["size"]), _side(tick.get("side")),
        number if own_id is None else None,
    )  # fmt: skip


def _with_content_ids(trades: Sequence[Trade]) -> list[Trade]:
    """Equal ticks of one request are told apart by their occurrence, so that a retry makes the same ids."""
    seen: Counter[tuple[str, int, str, str]] = Counter()
    named = []
    for trade in trades:
        content = (trade.symbol, trade.event_us, trade.price, trade.size)
        named.append(trade._replace(trade_id=content_id(*content, seen[content])))
        seen[content] += 1
    return named


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise InvalidTrade(field, value, "must be text")
    return value


def _stamp(value: Any) -> int:
    if not isinstance(value, str):
        raise InvalidTrade("ts", value, STAMPS)
    return stamp_us(value)


def _decimal(field: str, value: Any) -> str:
    """Plain decimal text of a JSON number or a string, through Decimal and never a float."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise InvalidTrade(field, value, "must be a positive decimal such as 43000.12")
    return format(Decimal(value), "f") if "e" in value or "E" in value else value


def _trade_id(value: Any) -> int:
    if not isinstance(value, str) or not _WHOLE.fullmatch(value) or int(value) > MAX_ID:
        raise InvalidTrade("trade_id", value, "must be a whole number from 0 that fits 63 bits")
    return int(value)


def _side(value: Any) -> str:
    if value is None:
        return ""
    side = _SIDES.get(value.lower()) if isinstance(value, str) else None
    if side is None:
        raise InvalidTrade("side", value, "must be buy or sell")
    return side


def _shown(value: Any) -> str:
    """A value as the client wrote it, cut."""
    text = str(value) if isinstance(value, NumberText) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
