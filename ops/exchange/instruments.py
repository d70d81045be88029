"""What is traded: symbols with a start price and exact decimal grids for price and size."""

import hashlib
from dataclasses import dataclass

WIRE_DECIMALS = 8
"""Binance writes spot prices and sizes with eight decimals, whatever the symbol's own grid is."""

_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "USD")
_KNOWN = {
    "BTCUSDT": ("43000", 2, 5), "ETHUSDT": ("2300", 2, 4), "SOLUSDT": ("100", 2, 3), "BNBUSDT": ("310", 2, 3),
    "XRPUSDT": ("0.55", 4, 1), "ADAUSDT": ("0.52", 4, 1), "DOGEUSDT": ("0.085", 5, 0), "LTCUSDT": ("72", 2, 3),
    "AVAXUSDT": ("36", 2, 2), "LINKUSDT": ("15", 3, 2), "DOTUSDT": ("7.5", 3, 2), "MATICUSDT": ("0.85", 4, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Instrument:
    """A symbol and its grids: a price is a count of ticks of 10**-price_decimals, a size of lots of 10**-size_decimals."""

    symbol: str
    start_ticks: int
    price_decimals: int
    size_decimals: int

    @property
    def quote(self) -> str:
        """Quote asset by the symbol's ending; the last three letters where none is known."""
        return next((quote for quote in _QUOTES if self.symbol.endswith(quote)), self.symbol[-3:])

    @property
    def base(self) -> str:
        """Base asset: the symbol without its quote."""
        return self.symbol.removesuffix(self.quote) or self.symbol


def instrument_of(symbol: str) -> Instrument:
    """The instrument of a symbol: realistic where it is known, else made from the name, always the same.

    >>> instrument_of("BTCUSDT").start_ticks
    4300000
    """
    digest = hashlib.blake2b(symbol.encode(), digest_size=8).digest()
    if symbol in _KNOWN:
        price, price_decimals, size_decimals = _KNOWN[symbol]
        return Instrument(symbol, _as_ticks(price, price_decimals), price_decimals, size_decimals)
    magnitude = digest[2] % 5
    return Instrument(symbol, 10_000 + int.from_bytes(digest[3:5]), 5 - magnitude, magnitude)


def decimal_text(count: int, decimals: int) -> str:
    """A count of 10**-decimals as Binance writes it.

    >>> decimal_text(4300012, 2)
    '43000.12000000'
    """
    if not decimals:
        return f"{count}.00000000"
    whole, fraction = divmod(count, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}{'0' * (WIRE_DECIMALS - decimals)}"


def decimal_texts(counts: list[int], decimals: int) -> list[str]:
    """`decimal_text` of many, at a third of the cost."""
    if not decimals:
        return [f"{count}.00000000" for count in counts]
    digits, zeros = f"%0{decimals + 1}d", "0" * (WIRE_DECIMALS - decimals)
    return [f"{text[:-decimals]}.{text[-decimals:]}{zeros}" for text in [digits % count for count in counts]]


def _as_ticks(price: str, decimals: int) -> int:
    whole, _, fraction = price.partition(".")
    return int(whole + fraction.ljust(decimals, "0"))
