"""Timeframes: the names of bar lengths, and their seconds."""

TIMEFRAMES_S = {
    "1s": 1, "5s": 5, "15s": 15, "30s": 30,
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800,
    "1h": 3600, "4h": 14400, "1d": 86400,
}  # fmt: skip

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def timeframe_us(timeframe: str) -> int:
    """Length of a timeframe's bar in microseconds."""
    return TIMEFRAMES_S[timeframe] * 1_000_000


def bar_start_us(event_us: int, timeframe: str) -> int:
    """Start of the bar `[start, end)` that holds an event; bars are counted from 1970 UTC.

    >>> bar_start_us(61_000_001, "1m")
    60000000
    """
    length = timeframe_us(timeframe)
    return event_us - event_us % length


def duration_s(text: str) -> int:
    """Seconds of a duration such as `90s`, `10m`, `6h`, `2d` or `0`; ValueError on anything else."""
    if text == "0":
        return 0
    if not text[:-1].isdigit() or text[-1] not in _UNITS_S:
        raise ValueError(f"{text!r} is not a duration such as 30s, 10m, 6h or 2d")
    return int(text[:-1]) * _UNITS_S[text[-1]]
