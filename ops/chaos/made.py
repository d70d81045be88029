"""What the exchange made: its own files, read and never written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.codec import encode_row
from common.judge import plain_decimal
from common.settings import Settings
from common.trades import Trade
from ops.exchange.aggregate import TRADE, Rows
from ops.exchange.instruments import instrument_of
from ops.exchange.walk import fill_columns


def newest_ids(settings: Settings) -> dict[str, int]:
    """Each symbol's newest trade id."""
    return {symbol: int(rows[-1]["id"]) for symbol in settings.symbols if len(rows := _newest_rows(settings, symbol))}


def made_rows(settings: Settings, symbol: str) -> Iterator[str]:
    """Every trade of a symbol that is kept, as rows of `raw_ticks`."""
    for path in _segments(settings, symbol):
        rows = np.fromfile(path, TRADE)
        for trade_id, price, size, _, time_us, maker, _ in fill_columns(instrument_of(symbol), rows):
            side = "s" if maker else "b"
            yield encode_row(Trade(symbol, trade_id, time_us, plain_decimal("price", price), plain_decimal("size", size), side))


def _newest_rows(settings: Settings, symbol: str) -> Rows:
    for path in reversed(_segments(settings, symbol)):
        whole = path.stat().st_size // TRADE.itemsize
        if whole:
            found: Rows = np.fromfile(path, TRADE, 1, offset=(whole - 1) * TRADE.itemsize)
            return found
    return np.empty(0, TRADE)


def _segments(settings: Settings, symbol: str) -> list[Path]:
    folder = settings.data_dir / "exchange" / f"walk-{symbol}"
    return sorted(folder.glob("*.trades"), key=lambda path: int(path.stem))
