"""A backtest of z-score entry and exit on the rows of a pair. Pure; no row is looked at before its time.

A signal at the close of row t is traded at the closes of the next row in which both legs have a bar of their own (a close that
was carried forward is nobody's price). The hedge ratio of the signal's row is held until the exit. One position at a time:

    flat    z >= entry: sell the spread (sell y, buy x)           z <= -entry: buy it
    in it   back within `exit` of zero, or through it: exit       `stop` or more on the wrong side: stop
            after a stop, nothing until |z| was below `entry` once

Sizes are such that both legs together are worth `notional` at the entry, each trade of each leg costs `cost_bps` of its value,
and nothing is compounded. What is open at the end is closed at the last row's closes, as "end".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import NamedTuple

YEAR_S = 365 * 86_400


class PairRow(NamedTuple):
    """What a backtest needs of a pair row; None where it was not known. `carried`: a leg had no bar of its own."""

    start_us: int
    y: float
    x: float
    hedge_ratio: float | None
    z_score: float | None
    carried: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds in deviations; `stop` None: none. `log`: the hedge ratio is one of log prices, so of values, not of units.

    Raises:
        ValueError: a sentence that begins with the name of the field at fault.
    """

    entry: float = 2.0
    exit: float = 0.5
    stop: float | None = None
    cost_bps: float = 5.0
    notional: float = 10_000.0
    log: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.exit < self.entry:
            raise ValueError(f"exit must be from 0 to below entry ({self.entry:g}), was {self.exit:g}")
        if self.stop is not None and self.stop <= self.entry:
            raise ValueError(f"stop must be above entry ({self.entry:g}), was {self.stop:g}")


class Trade(NamedTuple):
    """One position, from signal to exit. `side` 1: bought the spread, -1: sold it. Units are signed: below 0 is sold."""

    side: int
    signal_us: int
    entry_us: int
    exit_us: int
    reason: str  # exit, stop or end
    hedge_ratio: float
    y_units: float
    x_units: float
    entry_z: float
    entry_y: float
    entry_x: float
    exit_y: float
    exit_x: float
    costs: float
    profit: float  # after costs
    bars: int  # rows from entry to exit


@dataclass(slots=True)
class Outcome:
    """Trades in their order, and the profit so far (after costs, open positions at their close) after each row."""

    trades: list[Trade]
    profits: list[float]
    exposed: int  # rows at whose close a position was open


@dataclass(slots=True)
class _Position:
    side: int
    signal: int
    entry: int
    hedge_ratio: float
    y_units: float
    x_units: float
    cost: float


def backtest(rows: Sequence[PairRow], rules: Rules) -> Outcome:
    """Play the rules over rows, oldest first."""
    outcome, position, settled = Outcome([], [], 0), None, 0.0
    order, signal, stopped = 0, 0, False  # order: 1 buy, -1 sell the spread, 2 exit, 3 stop
    for at, row in enumerate(rows):
        if order and not row.carried:
            if position is None:
                position = _enter(rows, rules, order, signal, at)
                settled -= position.cost if position else 0.0
            else:
                trade = _leave(rows, rules, position, at, "stop" if order == 3 else "exit")
                outcome.trades.append(trade)
                settled += trade.profit + position.cost
                position, stopped = None, order == 3
            order = 0
        z = row.z_score
        if z is not None and isfinite(z):
            stopped = stopped and abs(z) >= rules.entry
            wanted = 0 if order else _wish(rules, position, z, row, stopped)
            order, signal = (wanted, at) if wanted else (order, signal)
        outcome.exposed += position is not None
        outcome.profits.append(settled + (_worth(position, rows, at) if position else 0.0))
    if position is not None:
        trade = _leave(rows, rules, position, len(rows) - 1, "end")
        outcome.trades.append(trade)
        outcome.profits[-1] = settled + trade.profit + position.cost
    return outcome


def _wish(rules: Rules, position: _Position | None, z: float, row: PairRow, stopped: bool) -> int:
    """What the close of a row asks for; 0: nothing."""
    if position is None:
        may = abs(z) >= rules.entry and not stopped and row.hedge_ratio is not None and isfinite(row.hedge_ratio)
        return (-1 if z > 0 else 1) if may else 0
    against = -z * position.side  # how far the spread is on the side it was entered from
    if against <= rules.exit:
        return 2
    return 3 if rules.stop is not None and against >= rules.stop else 0


def _enter(rows: Sequence[PairRow], rules: Rules, side: int, signal: int, at: int) -> _Position | None:
    """A position at a row's closes; None if the hedge ratio leaves nothing to trade."""
    y, x, b = rows[at].y, rows[at].x, rows[signal].hedge_ratio or 0.0
    y_units = rules.notional / (y * (1 + abs(b)) if rules.log else y + abs(b) * x)
    x_units = -b * y_units * (y / x if rules.log else 1.0)
    if not isfinite(y_units) or not isfinite(x_units) or not y_units:
        return None
    cost = (y_units * y + abs(x_units) * x) * rules.cost_bps / 10_000
    return _Position(side, signal, at, b, side * y_units, side * x_units, cost)


def _worth(position: _Position, rows: Sequence[PairRow], at: int) -> float:
    """What an open position has gained by the closes of a row, before costs."""
    entry, now = rows[position.entry], rows[at]
    return position.y_units * (now.y - entry.y) + position.x_units * (now.x - entry.x)


def _leave(rows: Sequence[PairRow], rules: Rules, position: _Position, at: int, reason: str) -> Trade:
    entry, now, signal = rows[position.entry], rows[at], rows[position.signal]
    traded = abs(position.y_units) * now.y + abs(position.x_units) * now.x
    costs = position.cost + traded * rules.cost_bps / 10_000
    return Trade(
        position.side, signal.start_us, entry.start_us, now.start_us, reason, position.hedge_ratio, position.y_units,
        position.x_units, signal.z_score or 0.0, entry.y, entry.x, now.y, now.x, costs, _worth(position, rows, at) - costs,
        at - position.entry,
    )  # fmt: skip


class Summary(NamedTuple):
    """None where there is nothing to say it of (no trade, no movement). Returns are shares of the notional."""

    total_return: float
    profit: float
    costs: float
    sharpe: float | None  # of the returns a row, annualised by the bar's length over 365 days
    max_drawdown: float  # of notional + profit, against its highest so far; 0 or below
    hit_rate: float | None
    exposure: float | None  # share of rows at whose close a position was open
    trade_count: int
    rows: int


def summary(outcome: Outcome, rules: Rules, bar_s: float) -> Summary:
    """What came of it."""
    profits, trades = outcome.profits, outcome.trades
    total = profits[-1] if profits else 0.0
    highest, worst, before = rules.notional, 0.0, 0.0
    changes: list[float] = []
    for profit in profits:
        changes.append((profit - before) / rules.notional)
        before, equity = profit, rules.notional + profit
        highest = max(highest, equity)
        worst = min(worst, (equity - highest) / highest)
    return Summary(
        total / rules.notional, total, sum(trade.costs for trade in trades), _sharpe(changes, bar_s), worst,
        sum(trade.profit > 0 for trade in trades) / len(trades) if trades else None,
        outcome.exposed / len(profits) if profits else None, len(trades), len(profits),
    )  # fmt: skip


def _sharpe(changes: Sequence[float], bar_s: float) -> float | None:
    if len(changes) < 2:
        return None
    mean = sum(changes) / len(changes)
    variance = sum((change - mean) ** 2 for change in changes) / (len(changes) - 1)
    return mean / sqrt(variance) * sqrt(YEAR_S / bar_s) if variance > 0 else None


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread, the last one included.

    >>> thinned(10, 4)
    [0, 3, 6, 9]
    """
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})
