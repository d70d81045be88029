"""Rows as Binance writes them: arrays and objects whose decimals are text. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from web.binance.intervals import Interval

_EIGHT = Decimal("0.00000001")
_ZERO = "0.00000000"


class Slot(NamedTuple):
    """What was traded in one slot of an interval."""

    start_us: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote: Decimal
    trades: int
    taker_volume: Decimal
    taker_quote: Decimal


def nobody_traded(start_us: int, close: Decimal) -> Slot:
    """A slot without a trade, at the close before it."""
    nothing = Decimal(0)
    return Slot(start_us, close, close, close, close, nothing, nothing, 0, nothing, nothing)


def amount(value: Decimal) -> str:
    """A decimal as Binance writes it: eight digits of fraction; more only where there are more.

    >>> amount(Decimal("43000.1")), amount(Decimal("0.0000000012"))
    ('43000.10000000', '0.0000000012')
    """
    exponent = value.normalize().as_tuple().exponent
    return f"{value.quantize(_EIGHT):f}" if isinstance(exponent, int) and exponent >= -8 else f"{value.normalize():f}"


def klines(interval: Interval, slots: Iterable[Slot], first_us: int, end_us: int, unit_us: int) -> Iterator[list[Any]]:
    """Arrays of the slots that start in `[first_us, end_us)`; one in which nobody traded stands at the close before it.

    Slots come oldest first; the first may lie before `first_us`: it only lends its close.
    """
    known = {slot.start_us: slot for slot in slots}
    before = [slot for start_us, slot in known.items() if start_us < first_us]
    close = before[-1].close if before else None
    start_us = first_us
    while start_us < end_us:
        next_us = interval.moved_us(start_us, 1)
        slot = known.get(start_us)
        if slot:
            close = slot.close
            yield _kline(slot, next_us, unit_us)
        elif close is not None:
            yield _kline(nobody_traded(start_us, close), next_us, unit_us)
        start_us = next_us


def _kline(slot: Slot, next_us: int, unit_us: int) -> list[Any]:
    prices = [amount(price) for price in (slot.open, slot.high, slot.low, slot.close)]
    ends = next_us // unit_us - 1
    taker = [amount(slot.taker_volume), amount(slot.taker_quote)]
    return [slot.start_us // unit_us, *prices, amount(slot.volume), ends, amount(slot.quote), slot.trades, *taker, "0"]


def trade(row: Sequence[Any], unit_us: int) -> dict[str, Any]:
    """A trade of `trades` and `historicalTrades`; row: (trade_id, event_us, price, size, side)."""
    trade_id, event_us, price, size, side = row
    return {
        "id": trade_id, "price": amount(price), "qty": amount(size), "quoteQty": amount(price * size),
        "time": event_us // unit_us, "isBuyerMaker": side == "s", "isBestMatch": True,
    }  # fmt: skip


def agg_trade(row: Sequence[Any], unit_us: int) -> dict[str, Any]:
    """A trade of `aggTrades`: one tick is one aggregate."""
    trade_id, event_us, price, size, side = row
    return {
        "a": trade_id, "p": amount(price), "q": amount(size), "f": trade_id, "l": trade_id,
        "T": event_us // unit_us, "m": side == "s", "M": True,
    }  # fmt: skip


def ticker(symbol: str, day: Mapping[str, Any], mini: bool) -> dict[str, Any]:
    """A `ticker/24hr`; day: the sums over the window and its first and last bar (web.binance.rows.day_of)."""
    opened, last, volume, quote = day["open"], day["last"], day["volume"], day["quote"]
    full = {
        "symbol": symbol, "priceChange": amount(last - opened),
        "priceChangePercent": f"{(last / opened - 1) * 100:.3f}", "weightedAvgPrice": amount((quote / volume).quantize(_EIGHT)),
        "prevClosePrice": amount(opened if day["before"] is None else day["before"]),
        "lastPrice": amount(last), "lastQty": amount(day["last_size"]),
        "bidPrice": _ZERO, "bidQty": _ZERO, "askPrice": _ZERO, "askQty": _ZERO,
        "openPrice": amount(opened), "highPrice": amount(day["high"]), "lowPrice": amount(day["low"]),
        "volume": amount(volume), "quoteVolume": amount(quote), "openTime": day["open_ms"], "closeTime": day["close_ms"],
        "firstId": day["first_id"], "lastId": day["last_id"], "count": day["count"],
    }  # fmt: skip
    left_out = ("priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice", "lastQty", "bidPrice", "bidQty",
                "askPrice", "askQty")  # fmt: skip
    return {name: value for name, value in full.items() if not (mini and name in left_out)}
