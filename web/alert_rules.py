"""Which alerts make sense: what a condition of each type may hold, and what it may be about."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common.settings import Settings, pair_legs
from common.timeframes import TIMEFRAMES_S
from web.errors import Problem, bad

MAX_COOLDOWN_S = 30 * 86_400
_KEYS = ("threshold", "timeframe", "cooldown_s", "once")


class Kind(NamedTuple):
    """What an alert type is about, and the range of its threshold."""

    of_pair: bool
    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False  # the lowest value itself is refused


_POSITIVE = Kind(of_pair=False, low=0.0, above_low=True)
ALERT_TYPES: dict[str, Kind] = {
    "zscore_high": Kind(of_pair=True),
    "zscore_low": Kind(of_pair=True),
    "zscore_abs": Kind(of_pair=True, low=0.0),
    "correlation_break": Kind(of_pair=True, low=-1.0, high=1.0),
    "spread_above": Kind(of_pair=True),
    "spread_below": Kind(of_pair=True),
    "volume_spike": _POSITIVE,
    "price_movement": _POSITIVE,
    "price_above": _POSITIVE,
    "price_below": _POSITIVE,
}


def checked_condition(alert_type: str, condition: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The condition with its timeframe filled in.

    Raises:
        Problem: 400, naming the field and its value.
    """
    for name in condition:
        if name not in _KEYS:
            raise bad(f"condition.{name[:40]}", f"is not known; a condition has {', '.join(_KEYS)}")
    checked: dict[str, Any] = {"threshold": _threshold(ALERT_TYPES[alert_type], condition)}
    checked["timeframe"] = _timeframe(condition.get("timeframe", settings.timeframes[0]), settings)
    if "cooldown_s" in condition:
        checked["cooldown_s"] = _number("cooldown_s", condition["cooldown_s"], 0, MAX_COOLDOWN_S)
    if "once" in condition:
        if not isinstance(condition["once"], bool):
            raise bad("condition.once", f"must be true or false, was {condition['once']!r:.60}")
        checked["once"] = condition["once"]
    return checked


def _threshold(kind: Kind, condition: Mapping[str, Any]) -> float:
    if "threshold" not in condition:
        raise bad("condition.threshold", "is required")
    threshold = _number("threshold", condition["threshold"], kind.low, kind.high)
    if kind.above_low and threshold == kind.low:
        raise bad("condition.threshold", f"must be above {kind.low:g}, was {threshold!r}")
    return threshold


def _number(name: str, value: Any, low: float, high: float) -> float:
    """A finite number inside [low, high]; text and booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 <= value <= 1e300:
        raise bad(f"condition.{name}", f"must be a finite number, was {value!r:.60}")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise bad(f"condition.{name}", f"must be {bounds}, was {value!r:.60}")
    return value


def _timeframe(timeframe: Any, settings: Settings) -> str:
    if not isinstance(timeframe, str) or timeframe not in TIMEFRAMES_S or timeframe not in settings.timeframes:
        raise bad("condition.timeframe", f"must be one of {', '.join(settings.timeframes)}, was {timeframe!r:.60}")
    return timeframe


def checked_subject(alert_type: str, subject: str, pairs: Iterable[str], symbols: frozenset[str]) -> None:
    """Refuse a pair or symbol that nothing would ever be evaluated for.

    Raises:
        Problem: 400, naming `symbol_pair`.
    """
    pairs = tuple(pairs)
    if ALERT_TYPES[alert_type].of_pair:
        if subject not in pairs:
            what = "is not followed" if pair_legs(subject, symbols) else "is not a known pair"
            raise _unknown(f"{what} ({alert_type} is about a pair of {', '.join(pairs)})", subject)
    elif subject not in symbols:
        raise _unknown(f"is not a known symbol ({alert_type} is about one symbol)", subject)


def _unknown(what: str, subject: str) -> Problem:
    return bad("symbol_pair", f"{what}, was {subject!r:.90}")
