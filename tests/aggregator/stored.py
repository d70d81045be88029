"""What tests of stored bars, pair rows and alerts share."""

import random

from psycopg2.extras import Json

from aggregator.barstore import BarLeaves
from aggregator.pairbook import compute_series
from common.pairseries import Series, SeriesKey
from common.streams import LIVE
from common.trades import Trade
from tests.aggregator.house import SECOND, START_US, House, each_second

KEY = SeriesKey("A_B", "1s", 5)
SERIES = Series(KEY, ("A", "B"))


def two_walks(seconds: int, seed: int = 1, missing: float = 0.2) -> list[Trade]:
    """A and B by the second, in time, with holes in both."""
    rng, trades = random.Random(seed), []
    for symbol, level in (("A", 43_000_00), ("B", 2_300_00)):
        prices = []
        for _ in range(seconds):
            level += rng.randint(-50, 50)
            prices.append("" if rng.random() < missing else f"{level // 100}.{level % 100:02d}")
        trades += each_second(symbol, prices)
    return sorted(trades, key=lambda trade: trade.event_us)


def feed(house: House, trades: list[Trade], step: int = 7) -> None:
    for at in range(0, len(trades), step):
        house.take(trades[at : at + step])


def events_since(client, event: str) -> int:
    return sum(fields[b"event"].decode() == event for _, fields in client.xrange(LIVE))


def recomputed(house: House, first_us: int | None = None, last_us: int | None = None):
    return compute_series(house.database, BarLeaves(), house.settings, SERIES, first_us, last_us)


def alert(house: House, kind: str, target: str, **condition) -> int:
    return house.rows(
        "INSERT INTO alerts (alert_type, symbol_pair, condition, timeframe) VALUES (%s, %s, %s, '1s') RETURNING id",
        kind, target, Json(condition),
    )[0][0]  # fmt: skip


def transitions(house: House, alert_id: int) -> list[tuple[int, str]]:
    found = house.rows("SELECT bar_timestamp, transition FROM alert_events WHERE alert_id = %s ORDER BY id", alert_id)
    return [(int(at.timestamp()) - START_US // SECOND, name) for at, name in found]
