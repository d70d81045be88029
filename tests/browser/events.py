"""News for a house that stands still: what the aggregator would publish."""

from datetime import datetime, timedelta

from common.events import Event, publish
from common.streams import connect_redis
from tests.browser.still import StillHouse


def stamp(start: datetime, number: int) -> str:
    """Seconds after a start, as events tell a time."""
    return (start + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def bar(start: datetime, number: int, closed: bool = True, symbol: str = "BTCUSDT") -> Event:
    """The bar of a second."""
    price = 43000 + number % 97
    body = {
        "symbol": symbol, "timeframe": "1s", "timestamp": stamp(start, number), "open": price, "high": price + 2,
        "low": price - 2, "close": price + 1, "volume": 1.5, "tick_count": 3, "status": "complete", "revision": 0,
        "closed": closed,
    }  # fmt: skip
    return Event("bar" if closed else "bar.open", body)


def pair_row(start: datetime, number: int, pair: str = "BTCUSDT_ETHUSDT") -> Event:
    """The row of a pair's second."""
    statistics = dict.fromkeys(("hedge_ratio", "intercept", "rolling_mean", "rolling_std", "correlation", "half_life"), 1.25)
    body = {
        "symbol_pair": pair, "timeframe": "1s", "window": 60, "method": "ols", "timestamp": stamp(start, number),
        "symbol1_price": 43000.5, "symbol2_price": 2200.25, "spread": number % 7,
        "z_score": number % 7 - 3, "revision": 0, **statistics,
    }  # fmt: skip
    return Event("spread", body)


def send(still: StillHouse, events: list[Event]) -> None:
    """Publish them."""
    with connect_redis(still.settings) as client:
        publish(client, events)
