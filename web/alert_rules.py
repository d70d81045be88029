"""Which alerts make sense: a condition of its type, about something that is followed."""

from collections.abc import Collection, Mapping
from typing import Any

from common.alertkinds import KINDS, checked_condition
from common.errors import InvalidCondition
from common.settings import Settings
from web.errors import Problem, bad

Series = tuple[str, str, int, str]  # pair, timeframe, window, method


def read_condition(alert_type: str, condition: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The condition with its timeframe filled in.

    Raises:
        Problem: 400, naming the field and its value.
    """
    try:
        return checked_condition(alert_type, condition, settings.timeframes)
    except InvalidCondition as exc:
        raise bad(exc.field, exc.reason) from exc


def check_subject(alert_type: str, subject: str, series: Collection[Series], symbols: frozenset[str]) -> None:
    """Refuse a pair or symbol that nothing would ever be evaluated for.

    Raises:
        Problem: 400, naming `symbol_pair`.
    """
    if KINDS[alert_type].of_pair:
        pairs = sorted({pair for pair, *_ in series})
        if subject not in pairs:
            parts = [part for part in subject.split("_") if part]
            known = len(parts) > 1 and set(parts) <= symbols
            what = "is not followed; POST /api/analytics/pairs/ follows it" if known else "is not a known pair"
            raise _unknown(f"{what} ({alert_type} is about a pair of {', '.join(pairs)})", subject)
    elif subject not in symbols:
        raise _unknown(f"is not a known symbol ({alert_type} is about one symbol)", subject)


def check_series(alert_type: str, subject: str, condition: Mapping[str, Any], series: Collection[Series], window: int) -> None:
    """Refuse a window or method of a pair that no rows are made with; `window` is that of pairs that name none.

    Raises:
        Problem: 400, naming the field and its value.
    """
    if not KINDS[alert_type].of_pair:
        return
    wanted = (subject, condition["timeframe"], condition.get("window", window), condition.get("method", "ols"))
    if wanted in series:
        return
    field = next((name for name in ("method", "window") if name in condition), "timeframe")
    have = [f"{method} over {bars} bars" for pair, timeframe, bars, method in sorted(series) if (pair, timeframe) == wanted[:2]]
    why = f"must be one that {subject} is followed with ({', '.join(have) or 'none'})"
    raise bad(f"condition.{field}", f"{why}, was {condition[field]!r:.60}")


def _unknown(what: str, subject: str) -> Problem:
    return bad("symbol_pair", f"{what}, was {subject!r:.90}")
