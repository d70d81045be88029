"""A symbol as `exchangeInfo` lists it. Pure."""

from typing import Any

_QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD", "EUR", "TRY", "BRL", "JPY", "BTC", "ETH", "BNB")
_DIGITS = 8


def base_and_quote(symbol: str) -> tuple[str, str]:
    """Both assets of a symbol; an unknown quote asset is empty.

    >>> base_and_quote("BTCUSDT"), base_and_quote("COINBASE:BTC-USD"), base_and_quote("DEMO")
    (('BTC', 'USDT'), ('BTC', 'USD'), ('DEMO', ''))
    """
    name = symbol.rpartition(":")[2]
    for separator in "-_/":
        if separator in name:
            base, _, quote = name.partition(separator)
            return base, quote
    quote = next((quote for quote in _QUOTES if name.endswith(quote) and len(name) > len(quote)), "")
    return name.removesuffix(quote), quote


def symbol_facts(symbol: str, price_digits: int | None, size_digits: int | None) -> dict[str, Any]:
    """A symbol with the steps of its prices and sizes, as they were seen."""
    base, quote = base_and_quote(symbol)
    tick, lot = _step(price_digits), _step(size_digits)
    return {
        "symbol": symbol, "status": "TRADING",
        "baseAsset": base, "baseAssetPrecision": _DIGITS, "quoteAsset": quote, "quotePrecision": _DIGITS,
        "quoteAssetPrecision": _DIGITS, "baseCommissionPrecision": _DIGITS, "quoteCommissionPrecision": _DIGITS,
        "orderTypes": [], "icebergAllowed": False, "ocoAllowed": False, "otoAllowed": False, "cancelReplaceAllowed": False,
        "allowTrailingStop": False, "quoteOrderQtyMarketAllowed": False,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "0.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "0.00000000", "stepSize": lot},
        ],
        "permissions": [], "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE", "allowedSelfTradePreventionModes": ["NONE"],
    }  # fmt: skip


def _step(digits: int | None) -> str:
    """The smallest step with so many digits of fraction."""
    digits = _DIGITS if digits is None else digits
    return f"{10**-digits:.{max(digits, _DIGITS)}f}"
