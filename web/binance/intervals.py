"""Binance's kline intervals, and the slots `[start, end)` that they cut time into. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from common.timeframes import timeframe_us
from common.trades import US_PER_DAY, from_us, to_us
from web.binance.errors import Refused

_MINUTE_US, _HOUR_US = 60_000_000, 3_600_000_000
_LENGTHS_US = {
    "1s": 1_000_000, "1m": _MINUTE_US, "3m": 3 * _MINUTE_US, "5m": 5 * _MINUTE_US, "15m": 15 * _MINUTE_US,
    "30m": 30 * _MINUTE_US, "1h": _HOUR_US, "2h": 2 * _HOUR_US, "4h": 4 * _HOUR_US, "6h": 6 * _HOUR_US, "8h": 8 * _HOUR_US,
    "12h": 12 * _HOUR_US, "1d": US_PER_DAY, "3d": 3 * US_PER_DAY, "1w": 7 * US_PER_DAY,
}  # fmt: skip
#: 1970-01-05, the first Monday: weeks begin on Mondays.
_MONDAY_US = 4 * US_PER_DAY
MONTH = "1M"
NAMES = (*_LENGTHS_US, MONTH)


@dataclass(frozen=True)
class Interval:
    """A kline interval."""

    name: str

    @classmethod
    def parse(cls, name: str) -> "Interval":
        """An interval by its name.

        Raises:
            Refused: there is no such interval.
        """
        if name not in NAMES:
            raise Refused(-1120, "Invalid interval.")
        return cls(name)

    def start_us(self, at_us: int) -> int:
        """Start of the slot that holds a moment."""
        if self.name == MONTH:
            moment = from_us(at_us)
            return to_us(datetime(moment.year, moment.month, 1, tzinfo=UTC))
        origin_us = _MONDAY_US if self.name == "1w" else 0
        return at_us - (at_us - origin_us) % _LENGTHS_US[self.name]

    def moved_us(self, start_us: int, slots: int) -> int:
        """Start of the slot so many after (or before) the one that starts then."""
        if self.name != MONTH:
            return start_us + slots * _LENGTHS_US[self.name]
        moment = from_us(start_us)
        months = moment.year * 12 + moment.month - 1 + slots
        return to_us(datetime(max(1, months // 12), months % 12 + 1, 1, tzinfo=UTC))

    def source(self, built: Sequence[str]) -> str:
        """The longest of the timeframes that are built whose bars fill the interval's slots exactly.

        Raises:
            Refused: none does.
        """
        day_or_slot_us = _LENGTHS_US.get(self.name, US_PER_DAY)
        fitting = [timeframe for timeframe in built if day_or_slot_us % timeframe_us(timeframe) == 0]
        if not fitting:
            raise Refused(-1120, "Invalid interval.")
        return max(fitting, key=timeframe_us)
