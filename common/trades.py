"""A trade: one execution at a venue, as it travels from the producer to the tables."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

US_PER_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Trade(NamedTuple):
    """One execution. Identity: `(symbol, UTC day of event_us, trade_id)`."""

    symbol: str
    trade_id: int  # the venue's; negative where it was made from the content
    event_us: int  # microseconds since 1970 UTC, the venue's stamp
    price: str  # plain decimal, above 0
    size: str  # plain decimal, above 0, in the base asset
    side: str = ""  # of the taker: "b", "s", or "" where unknown
    seq: int | None = None  # position in its request: the order among equal stamps; None counts as 0


def utc_day(event_us: int) -> int:
    """Days since 1970 of a stamp."""
    return event_us // US_PER_DAY


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(event_us: int) -> datetime:
    """The aware UTC datetime of a stamp in microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=event_us)
