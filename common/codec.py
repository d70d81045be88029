"""Trades as the rows of a stream entry: CSV in the column order of `raw_ticks`, which COPY takes as it is.

    BTCUSDT,3000000000,2026-11-23T07:00:00.123456Z,43000.12,0.0123,b,
"""

import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from common.errors import InvalidTrade
from common.trades import Trade, to_us

COLUMNS = ("symbol", "trade_id", "timestamp", "price", "size", "side", "seq")
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:?\d{2})", re.ASCII)
_second_texts: dict[int, str] = {}


def iso_us(event_us: int) -> str:
    """`2026-11-23T07:00:00.123456Z` of a stamp in microseconds; the text of a second is made once.

    >>> iso_us(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    second = event_us // 1_000_000
    text = _second_texts.get(second) or _second_text(second)
    if second > 0:  # the usual case, twice as fast
        return text + str(event_us)[-6:] + "Z"
    return f"{text}{event_us - second * 1_000_000:06d}Z"


def _second_text(second: int) -> str:
    if len(_second_texts) > 4096:
        _second_texts.clear()
    text = _second_texts[second] = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
    return text


def parse_iso_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 stamp with Z or an offset; digits past the sixth are cut.

    Raises:
        InvalidTrade: not such a stamp.
    """
    found = _STAMP.fullmatch(text)
    if not found:
        raise InvalidTrade("timestamp", text, "must be ISO 8601 with Z or an offset")
    day, clock, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone == 'Z' else zone}").astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidTrade("timestamp", text, "must be a real moment") from exc
    return to_us(moment) + int((fraction or "0")[:6].ljust(6, "0"))


def encode_rows(trades: Iterable[Trade]) -> str:
    """The `rows` of an entry, each row ended by a newline. Trades must have passed the judge."""
    return "".join([encode_row(trade) for trade in trades])


def encode_row(trade: Trade) -> str:
    """One row with its newline."""
    symbol, trade_id, event_us, price, size, side, seq = trade
    return f"{symbol},{trade_id},{iso_us(event_us)},{price},{size},{side},{'' if seq is None else seq}\n"


def decode_rows(rows: str) -> list[Trade]:
    """The trades of an entry's rows.

    Raises:
        InvalidTrade: at the first row that is not of this form (`read_rows` tells them apart).
    """
    return [decode_row(row) for row in split_rows(rows)]


def read_rows(rows: str) -> Iterator[tuple[int, str, Trade | InvalidTrade]]:
    """Each row as (its number from 0, its text, the trade or why it is none)."""
    for number, row in enumerate(split_rows(rows)):
        try:
            yield number, row, decode_row(row)
        except InvalidTrade as exc:
            yield number, row, exc


def split_rows(rows: str) -> list[str]:
    """Rows without their newlines; only `\\n` ends a row."""
    lines = rows.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def decode_row(row: str) -> Trade:
    """One row's trade, its form checked but not yet judged."""
    fields = row.split(",")
    if len(fields) != len(COLUMNS):
        raise InvalidTrade("row", row, f"must have {len(COLUMNS)} fields")
    symbol, trade_id, stamp, price, size, side, seq = fields
    return Trade(
        symbol, _whole("trade_id", trade_id), parse_iso_us(stamp), price, size, side, _whole("seq", seq) if seq else None
    )


def _whole(field: str, text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text, re.ASCII):
        raise InvalidTrade(field, text, "must be a whole number")
    return int(text)
