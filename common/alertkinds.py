"""Types of alerts: what each looks at, when it holds, and what its condition may say. Pure; one table for all who need it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from common.errors import InvalidCondition
from common.pairmethod import PairMethod
from common.timeframes import TIMEFRAMES_S

Source = Literal["pair", "test", "bar", "hole", "clock"]
Sense = Literal["above", "below", "below_minus", "beyond"]

SEVERITIES = ("info", "warning", "critical")
MAX_SECONDS = 30 * 86_400
MAX_BARS = 1_000
_ALWAYS = ("threshold", "timeframe", "cooldown_s", "repeat_s", "once")
_HELD = ("clear", "for_bars", "for_s")


class Kind(NamedTuple):
    """A type of alert. `source`: whose rows it is looked at on (pair rows, Engle-Granger tests, bars, bars and holes in the ids,
    or the stream's clock); `sense`: how its value has to lie against the threshold."""

    value: str
    source: Source
    sense: Sense
    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False  # the lowest threshold itself is refused
    default: float | None = None  # threshold where the condition has none; None: it must have one
    window: int | None = None  # bars looked back on; None: no such option, or the pair series' own
    after_ok: bool = False  # fires only once it has been seen not to hold

    @property
    def of_pair(self) -> bool:
        """True if it is about a pair, else about a symbol."""
        return self.source in ("pair", "test")

    @property
    def options(self) -> tuple[str, ...]:
        """What its condition may hold."""
        held = _HELD if self.source in ("pair", "test", "bar") else ()
        own = ("window", "method") if self.of_pair else ("window",) if self.window else ()
        return (*_ALWAYS, *held, *own)


_POSITIVE: dict[str, Any] = {"low": 0.0, "above_low": True}
KINDS: dict[str, Kind] = {
    "zscore_high": Kind("z_score", "pair", "above"),
    "zscore_low": Kind("z_score", "pair", "below_minus"),
    "zscore_abs": Kind("z_score", "pair", "beyond", low=0.0),
    "spread_above": Kind("spread", "pair", "above"),
    "spread_below": Kind("spread", "pair", "below"),
    "correlation_break": Kind("correlation", "pair", "below", low=-1.0, high=1.0),
    "cointegration_lost": Kind("pvalue", "test", "above", low=0.0, high=1.0, default=0.05, after_ok=True),
    "volume_spike": Kind("volume_ratio", "bar", "above", **_POSITIVE, window=20),
    "price_movement": Kind("move_pct", "bar", "beyond", **_POSITIVE, window=1),
    "price_above": Kind("close", "bar", "above", **_POSITIVE),
    "price_below": Kind("close", "bar", "below", **_POSITIVE),
    "feed_stale": Kind("silence_s", "clock", "above", **_POSITIVE, high=7 * 86_400),
    "gap": Kind("missing", "hole", "above", low=0.0, default=0.0),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, read. `window` 0 and `method` '': the type has none. `clear` None: it is over as soon as it does not hold."""

    threshold: float
    window: int
    method: str
    for_bars: int
    for_us: int
    clear: float | None
    cooldown_us: int
    repeat_us: int | None
    once: bool

    @classmethod
    def of(cls, alert_type: str, condition: Mapping[str, Any], pair_window: int) -> "Condition":
        """Read a condition that `checked_condition` has let pass; `pair_window` is the window of pairs that name none.

        >>> Condition.of("price_movement", {"threshold": 2, "for_s": 1.5}, 60).for_us
        1500000
        """
        kind = KINDS[alert_type]
        threshold = condition.get("threshold", kind.default)
        if threshold is None:
            raise InvalidCondition("condition.threshold", None, "is required")
        clear, repeat_s = condition.get("clear"), condition.get("repeat_s")
        return cls(
            threshold=float(threshold),
            window=int(condition.get("window") or (pair_window if kind.of_pair else kind.window or 0)),
            method=str(condition.get("method") or "ols") if kind.of_pair else "",
            for_bars=int(condition.get("for_bars") or 1),
            for_us=_us(condition.get("for_s")),
            clear=None if clear is None else float(clear),
            cooldown_us=_us(condition.get("cooldown_s")),
            repeat_us=_us(repeat_s) if repeat_s else None,
            once=bool(condition.get("once")),
        )


def score(sense: Sense, value: float) -> float:
    """The value on a scale on which more is worse."""
    return abs(value) if sense == "beyond" else value if sense == "above" else -value


def bound(sense: Sense, threshold: float) -> float:
    """A threshold on that scale: the condition holds above it.

    >>> score("below_minus", -2.5) > bound("below_minus", 2.0)
    True
    """
    return abs(threshold) if sense == "below_minus" else -threshold if sense == "below" else threshold


def checked_condition(alert_type: str, condition: Mapping[str, Any], timeframes: tuple[str, ...]) -> dict[str, Any]:
    """The condition as it is stored, with its timeframe filled in.

    Raises:
        InvalidCondition: names the field (`condition.threshold`) and its value.
    """
    kind = KINDS[alert_type]
    for name in condition:
        if name not in kind.options:
            raise InvalidCondition(f"condition.{name[:40]}", None, f"is not known; {alert_type} has {', '.join(kind.options)}")
    checked: dict[str, Any] = {"threshold": _threshold(kind, condition)}
    if checked["threshold"] is None:
        del checked["threshold"]
    checked["timeframe"] = _timeframe(condition.get("timeframe", timeframes[0]), timeframes)
    for name, check in _CHECKS.items():
        if name in condition:
            checked[name] = check(name, condition[name])
    if "clear" in checked:
        _check_clear(kind, checked)
    return checked


def _us(seconds: Any) -> int:
    return round(float(seconds or 0) * 1_000_000)


def _threshold(kind: Kind, condition: Mapping[str, Any]) -> float | None:
    if "threshold" not in condition:
        if kind.default is None:
            raise InvalidCondition("condition.threshold", None, "is required")
        return None
    threshold = _number("threshold", condition["threshold"], kind.low, kind.high)
    if kind.above_low and threshold == kind.low:
        raise InvalidCondition("condition.threshold", threshold, f"must be above {kind.low:g}")
    return threshold


def _number(name: str, value: Any, low: float, high: float) -> float:
    """A finite number inside [low, high]; text and booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 <= value <= 1e300:
        raise InvalidCondition(f"condition.{name}", value, "must be a finite number")
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise InvalidCondition(f"condition.{name}", value, f"must be {bounds}")
    return value


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidCondition(f"condition.{name}", value, f"must be a whole number from {low} to {high}")
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidCondition(f"condition.{name}", value, "must be true or false")
    return value


def _method(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidCondition(f"condition.{name}", value, "must be text such as ols")
    try:
        return PairMethod.parse(value).text
    except ValueError as exc:
        raise InvalidCondition(f"condition.{name}", value, str(exc).removeprefix("method ").rpartition(", was")[0]) from exc


def _timeframe(timeframe: Any, timeframes: tuple[str, ...]) -> str:
    if not isinstance(timeframe, str) or timeframe not in TIMEFRAMES_S or timeframe not in timeframes:
        raise InvalidCondition("condition.timeframe", timeframe, f"must be one of {', '.join(timeframes)}")
    return timeframe


def _check_clear(kind: Kind, checked: Mapping[str, Any]) -> None:
    threshold, clear = checked.get("threshold", kind.default), checked["clear"]
    if bound(kind.sense, clear) > bound(kind.sense, threshold):
        side = {"above": "at most", "beyond": "at most", "below": "at least", "below_minus": "nearer to 0 than"}[kind.sense]
        why = f"must be {side} the threshold ({threshold:g}): else it could be over while it holds"
        raise InvalidCondition("condition.clear", clear, why)


_CHECKS = {
    "window": lambda name, value: _whole(name, value, 1, 10_000),
    "method": _method,
    "for_bars": lambda name, value: _whole(name, value, 1, MAX_BARS),
    "for_s": lambda name, value: _number(name, value, 0, MAX_SECONDS),
    "clear": lambda name, value: _number(name, value, -math.inf, math.inf),
    "cooldown_s": lambda name, value: _number(name, value, 0, MAX_SECONDS),
    "repeat_s": lambda name, value: _number(name, value, 1, MAX_SECONDS),
    "once": _truth,
}
