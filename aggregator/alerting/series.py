"""What rules look at, series by series: rows in, observations out. Pure.

A row is a mapping with `us` (its bar's start) and what its source has: `close`, `volume`, `status` of a bar; the statistics of a
pair row; `statistic`, `pvalue` of an Engle-Granger test.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aggregator.alerting.machine import Observation, Rule
from aggregator.intervals import Hole
from common.alertkinds import Source
from common.codec import iso_us

Row = Mapping[str, Any]
_PAIR_FACTS = (
    "z_score", "spread", "rolling_mean", "rolling_std", "correlation", "hedge_ratio", "symbol1_price", "symbol2_price", "carried",
    "has_gap",
)  # fmt: skip
_TEST_FACTS = ("statistic", "pvalue", "is_cointegrated")


class SeriesKey(NamedTuple):
    """One series of rows: bars of a symbol (`window` 0, `method` ''), rows of a pair, or tests of a pair."""

    source: Source
    subject: str
    timeframe: str
    window: int = 0
    method: str = ""


def key_of(rule: Rule) -> SeriesKey:
    """The series a rule looks at; rules by the clock have none."""
    if rule.kind.of_pair:
        return SeriesKey(rule.kind.source, rule.subject, rule.timeframe, rule.condition.window, rule.condition.method)
    return SeriesKey("bar", rule.subject, rule.timeframe)


class Series:
    """The rules of one series, and as many of its last bars as they look back on."""

    def __init__(self, key: SeriesKey, rules: Sequence[Rule] = ()) -> None:
        self.key, self.rules = key, list(rules)
        self.last_us = -1  # the newest row looked at
        self.bars: deque[tuple[float, float]] = deque(maxlen=max(1, self.look_back))  # close, volume

    @property
    def look_back(self) -> int:
        """How many bars before a bar its rules need."""
        return max((rule.condition.window for rule in self.rules if self.key.source == "bar"), default=0)

    def remember(self, rows: Iterable[Row]) -> None:
        """Take rows, oldest first, without looking at them."""
        for row in rows:
            self.last_us = max(self.last_us, row["us"])
            if self.key.source == "bar":
                self.bars.append((row["close"], row["volume"]))

    def look(self, row: Row) -> list[tuple[Rule, Observation]]:
        """What each rule sees in the next row; the row is remembered."""
        made = {"pair": self._of_pair_row, "test": self._of_test}.get(self.key.source, self._of_bar)
        seen = [(rule, made(rule, row)) for rule in self.rules]
        self.remember((row,))
        return seen

    def _of_pair_row(self, rule: Rule, row: Row) -> Observation:
        facts = {name: row[name] for name in _PAIR_FACTS if name in row}
        return Observation(row["us"], row.get(rule.kind.value), facts)

    def _of_test(self, rule: Rule, row: Row) -> Observation:
        return Observation(row["us"], row["pvalue"], {name: row[name] for name in _TEST_FACTS})

    def _of_bar(self, rule: Rule, row: Row) -> Observation:
        if rule.kind.source == "hole":
            return _of_status(rule, row)
        if rule.kind.value == "volume_ratio":
            return self._volume_ratio(rule, row)
        if rule.kind.value == "move_pct":
            return self._move(rule, row)
        return Observation(row["us"], row["close"], {"close": row["close"]})

    def _volume_ratio(self, rule: Rule, row: Row) -> Observation:
        """Volume over the mean of the bars before; None until there are as many as the window says."""
        window = rule.condition.window
        if len(self.bars) < window:
            return Observation(row["us"], None)
        mean = sum(volume for _, volume in islice(reversed(self.bars), window)) / window
        facts = {"volume": row["volume"], "mean_volume": mean, "close": row["close"]}
        return Observation(row["us"], row["volume"] / mean if mean else None, facts)

    def _move(self, rule: Rule, row: Row) -> Observation:
        """Close against the close so many bars before, in percent; None until there is one."""
        window = rule.condition.window
        if len(self.bars) < window or not self.bars[-window][0]:
            return Observation(row["us"], None)
        before = self.bars[-window][0]
        return Observation(row["us"], (row["close"] / before - 1) * 100, {"close": row["close"], "before": before})


def _of_status(rule: Rule, row: Row) -> Observation:
    """A bar with status gap holds, unless the rule asks for a number of ids: a bar can not tell how many are missing."""
    if row["status"] != "gap":
        return Observation(row["us"], 0.0, {"status": row["status"]}, False)
    return Observation(row["us"], None, {"status": "gap"}, None if rule.condition.threshold else True)


def of_hole(rule: Rule, hole: Hole, length_us: int) -> Observation:
    """A hole in the ids, at the bar in which its far side lies."""
    missing = hole.last_id - hole.first_id + 1
    facts = {"first_id": hole.first_id, "last_id": hole.last_id, "from": iso_us(hole.from_us), "to": iso_us(hole.to_us)}
    holds = True if missing > rule.condition.threshold else None
    return Observation(hole.to_us - hole.to_us % length_us, float(missing), facts, holds)


def silences(last_ms: int, arrivals: Iterable[int], now_ms: int, limit_us: int) -> list[Observation]:
    """A symbol's silence as a rule sees it: from `limit_us` after an arrival on it holds, with the next arrival it is over.

    `last_ms` is the arrival before all `arrivals` (entry times, ascending), `now_ms` the stream's clock.
    """
    seen: list[Observation] = []
    for at_ms in arrivals:
        if (at_ms - last_ms) * 1000 >= limit_us:
            seen.append(_silent(last_ms, last_ms * 1000 + limit_us))
        if at_ms > last_ms and (not seen or seen[-1].holds):
            seen.append(Observation(at_ms * 1000, (at_ms - last_ms) / 1000, {"last_trade_at": iso_us(at_ms * 1000)}, False))
        last_ms = max(last_ms, at_ms)
    stale_us = last_ms * 1000 + limit_us
    if now_ms * 1000 >= stale_us:
        seen += [_silent(last_ms, us) for us in sorted({stale_us, now_ms * 1000})]
    return seen


def _silent(last_ms: int, us: int) -> Observation:
    return Observation(us, (us - last_ms * 1000) / 1_000_000, {"last_trade_at": iso_us(last_ms * 1000)}, True)
