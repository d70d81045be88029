"""The alert stage: every rule on every row at its first close, in the aggregator's transaction.

Rows come from this very transaction (bars and pair rows) and from the inbox (rows that tasks made or changed, tests that are
done); beside them there are holes in the ids and the stream's clock. Its memory is what is stored: a start reads the rules, and
of each series the last rows that were looked at; so start and resume are one path.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from aggregator.alerting import book, inbox, stored
from aggregator.alerting.book import Happened
from aggregator.alerting.late import CONTEXT_ROWS, annotation, clusters, context_rows, late_transitions
from aggregator.alerting.machine import Observation, Rule, Transition, expired, observe
from aggregator.alerting.series import Row, Series, SeriesKey, key_of, of_hole, silences
from aggregator.intervals import Hole
from common.alertstates import State
from common.codec import parse_iso_us
from common.events import Event
from common.settings import Settings, pair_legs
from common.streams import shard_of
from common.timeframes import timeframe_us

#: A bar closes this much after its end at the latest: until then a rule that expires may still have bars to look at.
CLOSING_US = 5_000_000


class Step(NamedTuple):
    """What a transaction brings: events of bars and pair rows, holes, the stream's clock (0: as it was), and for watched symbols
    the times at which trades arrived since the last step, with the one before them."""

    events: Sequence[Event]
    holes: Sequence[tuple[str, Hole]] = ()
    clock_ms: int = 0
    arrivals: Mapping[str, Sequence[int]] = {}
    arrived_ms: Mapping[str, int] = {}


class Fresh(NamedTuple):
    """A row to look at; rules with an id above `newest_rule` came after it (None: all were there)."""

    row: Row
    newest_rule: int | None


class AlertStage:
    """All rules of one shard."""

    def __init__(self, settings: Settings, shard: int) -> None:
        self._settings, self._shard = settings, shard
        self._rules: dict[int, Rule] = {}
        self._stored: dict[int, State] = {}
        self._series: dict[SeriesKey, Series | None] = {}  # None: not read yet
        self._of_key: dict[SeriesKey, list[Rule]] = {}
        self._of_holes: dict[str, list[Rule]] = {}
        self._subjects: list[str] = []
        self._by_clock: dict[str, list[Rule]] = {}
        self._last_ms: dict[str, int] = {}  # of symbols that rules by the clock are about: the newest arrival
        self._change = -1
        self._expiring_us: int | None = None
        self._clock_ms = 0

    @property
    def watched(self) -> frozenset[str]:
        """Symbols whose arrivals are of interest."""
        return frozenset(self._by_clock)

    def load(self, cursor: Cursor, arrived_ms: Mapping[str, int]) -> None:
        """At the start: read the rules; `arrived_ms` is when the newest trade of each symbol had arrived at the checkpoint."""
        self._refresh(cursor)
        self._last_ms = {symbol: arrived_ms[symbol] for symbol in self._by_clock if symbol in arrived_ms}

    def step(self, cursor: Cursor, step: Step) -> list[dict[str, Any]]:
        """Look at what is new, oldest first; answers the events as live events tell them."""
        if not self._refresh(cursor):
            return []
        newest = [noted[-1] for noted in step.arrivals.values() if noted]
        self._clock_ms = max([self._clock_ms, step.clock_ms, *newest])
        rows, changed = self._rows_of(step.events)
        self._read_series(cursor, rows)
        self._take_inbox(cursor, rows, changed)
        holes = self._holes_of(step.holes)
        happened = [each for key in {**rows, **holes} for each in self._look(cursor, key, rows.get(key, ()), holes.get(key, ()))]
        happened += [each for key, stamps in changed.items() for each in self._annotate(cursor, key, stamps)]
        happened += self._look_at_clock(step) + self._expire()
        return self._write(cursor, happened)

    #  Rules ---------------------------------------------------------------------------------------------------------------

    def _refresh(self, cursor: Cursor) -> bool:
        """Read what people have changed; False if there are no rules. They wait from here on until the commit."""
        if self._rules or self._change < 0:
            book.hold_rules(cursor)
        change = book.changes(cursor)
        if change != self._change:
            if not self._rules:
                book.hold_rules(cursor)
                change = book.changes(cursor)
            for alert_id, rule in book.changed_rules(cursor, self._change, self._settings.window).items():
                self._put(alert_id, rule)
            self._change = change
            self._arrange()
            inbox.forget_unwatched(cursor)
        return bool(self._rules)

    def _put(self, alert_id: int, rule: Rule | None) -> None:
        self._rules.pop(alert_id, None)
        self._stored.pop(alert_id, None)
        if rule is not None and not rule.has_ended and self._is_ours(rule):
            self._rules[alert_id], self._stored[alert_id] = rule, rule.state

    def _is_ours(self, rule: Rule) -> bool:
        legs = pair_legs(rule.subject, self._settings.symbols) or (rule.subject.partition("_")[0],)
        symbol = legs[0] if rule.kind.of_pair else rule.subject
        return shard_of(symbol, self._settings.shards) == self._shard

    def _arrange(self) -> None:
        """Sort the rules by what they look at; a series whose rules are others now is read again."""
        rules = sorted(self._rules.values(), key=lambda rule: rule.id)
        of_key: dict[SeriesKey, list[Rule]] = defaultdict(list)
        by_clock: dict[str, list[Rule]] = defaultdict(list)
        of_holes: dict[str, list[Rule]] = defaultdict(list)
        for rule in rules:
            if rule.kind.source == "clock":
                by_clock[rule.subject].append(rule)
            else:
                of_key[key_of(rule)].append(rule)
            if rule.kind.source == "hole":
                of_holes[rule.subject].append(rule)
        self._series = {key: _with_rules(self._series.get(key), of) for key, of in of_key.items()}
        self._of_key, self._by_clock, self._of_holes = dict(of_key), dict(by_clock), dict(of_holes)
        self._subjects = sorted({rule.subject for rule in rules})
        self._last_ms = {symbol: self._last_ms[symbol] for symbol in by_clock if symbol in self._last_ms}
        self._expiring_us = min((rule.expires_us for rule in rules if rule.expires_us is not None), default=None)

    #  Rows ----------------------------------------------------------------------------------------------------------------

    def _rows_of(self, events: Sequence[Event]) -> tuple[dict[SeriesKey, list[Fresh]], dict[SeriesKey, set[int]]]:
        """Rows of this transaction that some rule looks at, and stamps of bars that it changed."""
        rows: dict[SeriesKey, list[Fresh]] = defaultdict(list)
        changed: dict[SeriesKey, set[int]] = defaultdict(set)
        for event in events:
            name, body = event.event, event.body
            key = _series_of(name, body)
            if key in self._series:
                us = parse_iso_us(body["timestamp"])
                if name == "bar.revised":
                    changed[key].add(us)
                else:
                    rows[key].append(Fresh({**body, "us": us}, None))
        return rows, changed

    def _read_series(self, cursor: Cursor, rows: Mapping[SeriesKey, Sequence["Fresh"]]) -> None:
        """Series that were not read yet: the last rows that were looked at, before those of this transaction and of the inbox."""
        for key, series in self._series.items():
            if series is None:
                first_us = min((fresh.row["us"] for fresh in rows.get(key, ())), default=stored.FOREVER_US)
                self._read(cursor, key, self._of_key[key], first_us)

    def _read(self, cursor: Cursor, key: SeriesKey, rules: Sequence[Rule], before_us: int) -> None:
        series = Series(key, rules)
        waiting = inbox.waiting_stamps(cursor, key)
        series.remember(stored.rows_before(cursor, key, before_us, max(1, series.look_back), waiting))
        self._series[key] = series

    def _take_inbox(
        self, cursor: Cursor, rows: dict[SeriesKey, list["Fresh"]], changed: dict[SeriesKey, set[int]]
    ) -> None:
        """Add what the tasks have made or changed."""
        made: dict[SeriesKey, dict[int, int]] = defaultdict(dict)
        tests = {key: series.last_us for key, series in self._series.items() if key.source == "test" and series}
        for taken in inbox.take(cursor, self._subjects) + (inbox.take_tests(cursor, tests) if tests else []):
            if taken.revision and taken.key in self._series:
                changed[taken.key].add(taken.us)
            elif taken.key in self._series:
                made[taken.key][taken.us] = taken.newest_rule
        for key, newest in made.items():
            here = {fresh.row["us"] for fresh in rows[key]}
            found = stored.rows_at(cursor, key, [us for us in newest if us not in here])
            rows[key] += [Fresh(row, newest[row["us"]]) for row in found]

    def _look(
        self, cursor: Cursor, key: SeriesKey, rows: Sequence["Fresh"], holes: Sequence[tuple[Rule, Observation]]
    ) -> list[Happened]:
        """Rows of one series: those that follow on what was looked at, and those that come behind it. A hole comes just before
        the bar in which its far side lies."""
        series = self._series[key]
        assert series, "was read above"
        follow = sorted((fresh for fresh in rows if fresh.row["us"] > series.last_us), key=lambda fresh: int(fresh.row["us"]))
        late = {fresh.row["us"]: fresh.newest_rule for fresh in rows if fresh.row["us"] <= series.last_us}
        waiting = deque(sorted(holes, key=lambda hole: hole[1].us))
        happened = []
        for row, newest_rule in follow:
            while waiting and waiting[0][1].us <= row["us"]:
                happened += self._observe(*waiting.popleft())
            for rule, seen in series.look(row):
                if newest_rule is None or rule.id <= newest_rule:
                    happened += self._observe(rule, seen)
        happened += [each for hole in waiting for each in self._observe(*hole)]
        return happened + (self._look_back(cursor, series, late) if late else [])

    def _look_back(self, cursor: Cursor, series: Series, late: Mapping[int, int | None]) -> list[Happened]:
        """Rows that came behind newer ones: recorded, and the look-back of the rows to come is read again."""
        key, newest_us, context = series.key, series.last_us, context_rows(series.rules)
        happened = []
        for run in clusters(late, CONTEXT_ROWS * timeframe_us(key.timeframe)):
            rows = stored.rows_before(cursor, key, run[0], context) + stored.rows_between(cursor, key, run[0], run[-1])
            for rule, transition in late_transitions(key, series.rules, rows, run):
                newest_rule = late[transition.us]
                if newest_rule is None or rule.id <= newest_rule:
                    happened.append(self._happened(rule, _dated(transition, newest_us)))
        self._read(cursor, key, series.rules, stored.FOREVER_US)
        return happened

    def _annotate(self, cursor: Cursor, key: SeriesKey, stamps: set[int]) -> list[Happened]:
        """Rows that were changed: what was said of them stands, and a note beside it says what they say now."""
        series = self._series[key]
        assert series, "was read above"
        rules = {rule.id: rule for rule in series.rules}
        happened = []
        for us, said in book.events_at(cursor, list(rules), stamps).items():
            rows = stored.rows_before(cursor, key, us, series.look_back) + stored.rows_between(cursor, key, us, us)
            for alert_id, was in said.items():
                happened.append(self._happened(rules[alert_id], annotation(key, rules[alert_id], rows, us, was)))
        if key.source == "bar" and series.look_back:
            self._read(cursor, key, series.rules, stored.FOREVER_US)
        return happened

    #  What is no row ------------------------------------------------------------------------------------------------------

    def _holes_of(self, holes: Sequence[tuple[str, Hole]]) -> dict[SeriesKey, list[tuple[Rule, Observation]]]:
        """What rules about gaps see in holes, by the series of their bars."""
        found: dict[SeriesKey, list[tuple[Rule, Observation]]] = defaultdict(list)
        for symbol, hole in holes if self._of_holes else ():
            for rule in self._of_holes.get(symbol, ()):
                found[key_of(rule)].append((rule, of_hole(rule, hole, timeframe_us(rule.timeframe))))
        return found

    def _look_at_clock(self, step: Step) -> list[Happened]:
        found: list[Happened] = []
        if not self._clock_ms:
            return found  # nothing was read yet
        for symbol, rules in self._by_clock.items():
            noted = step.arrivals.get(symbol, ())
            first_ms = noted[0] if noted else step.arrived_ms.get(symbol, self._clock_ms)
            last_ms = self._last_ms.get(symbol, first_ms)
            arrivals = [at_ms for at_ms in noted if at_ms > last_ms]
            for rule in rules:
                limit_us = round(rule.condition.threshold * 1_000_000)
                for seen in silences(last_ms, arrivals, self._clock_ms, limit_us):
                    found += self._observe(rule, seen)
            self._last_ms[symbol] = arrivals[-1] if arrivals else last_ms
        return found

    def _expire(self) -> list[Happened]:
        """Rules whose time is over though nothing comes any more to be looked at."""
        clock_us = self._clock_ms * 1000 - CLOSING_US - self._settings.lateness_ms * 1000
        if self._expiring_us is None or clock_us < self._expiring_us:
            return []
        found = []
        for rule in self._rules.values():
            if rule.expires_us is not None and not rule.has_ended and clock_us >= rule.expires_us + timeframe_us(rule.timeframe):
                rule.state, transition = expired(rule, rule.state)
                found.append(self._happened(rule, transition))
        return found

    #  What came of it -----------------------------------------------------------------------------------------------------

    def _observe(self, rule: Rule, seen: Observation) -> list[Happened]:
        transition = observe(rule, seen)
        return [self._happened(rule, transition)] if transition else []

    def _happened(self, rule: Rule, transition: Transition) -> Happened:
        return Happened(rule, transition, rule.state.status(rule.condition.once))

    def _write(self, cursor: Cursor, happened: list[Happened]) -> list[dict[str, Any]]:
        moved = [rule for alert_id, rule in self._rules.items() if rule.state is not self._stored[alert_id]]
        if not moved and not happened:
            return []
        happened.sort(key=lambda each: each.transition.us)
        book.save(cursor, moved, [each for each in happened if not each.transition.facts.get("late")])
        self._stored |= {rule.id: rule.state for rule in moved}
        for rule in moved:
            if rule.has_ended:
                self._put(rule.id, None)
        if any(rule.has_ended for rule in moved):
            self._arrange()
        return book.record(cursor, happened, self._clock_ms * 1000)


def _with_rules(series: Series | None, rules: Sequence[Rule]) -> Series | None:
    """A series that has other rules now; None, to be read again, if they look back further than it remembers."""
    if series is None or Series(series.key, rules).look_back > (series.bars.maxlen or 0):
        return None
    series.rules = list(rules)
    return series


def _series_of(name: str, body: Mapping[str, Any]) -> SeriesKey | None:
    if name in ("bar", "bar.revised"):
        return SeriesKey("bar", body["symbol"], body["timeframe"])
    if name == "spread":
        return SeriesKey("pair", body["symbol_pair"], body["timeframe"], body["window"], body.get("method", "ols"))
    return None


def _dated(transition: Transition, newest_us: int) -> Transition:
    """A late transition that knows how far behind it came."""
    return transition._replace(facts={**transition.facts, "behind_s": (newest_us - transition.us) / 1_000_000})
