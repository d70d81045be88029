"""A market of random walks: pure, seeded, time is an argument.

Each symbol's fair price is a geometric random walk, or follows another symbol: log Y = log X + constant + an Ornstein-Uhlenbeck
spread, so Y and X are cointegrated. Taker orders come in clusters (several orders of one side within milliseconds), each order
fills several resting ones at a price level or walks to the next. All on integers of ticks and lots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.settings import pair_legs
from ops.exchange.aggregate import TRADE, Ints, Rows, aggregate_ids
from ops.exchange.instruments import Instrument

WALK_SD = 9e-5
"""Standard deviation of the log price over one second: half a hundred percent a year."""
SPREAD_SD = 6e-4
SPREAD_HALF_LIFE_S = 45.0
GRID_US = 10_000
LONGEST_STEP_US = 1_000_000
FILLS_AN_ORDER = 2.0
ORDERS_A_CLUSTER = 1.5
ORDER_GAP_US = 15_000
NEXT_LEVEL = 0.25
MEDIAN_NOTIONAL = 150.0

Floats = npt.NDArray[np.float64]


@dataclass
class Line:
    """Where one symbol stands: the next ids, the last price, and orders of running clusters that are not due yet."""

    instrument: Instrument
    next_id: int
    next_agg_id: int
    last_ticks: int
    due_us: Ints
    due_sells: npt.NDArray[np.bool_]


def line_of(instrument: Instrument, first_id: int, last: Rows | None = None) -> Line:
    """The line after a last trade (one TRADE row), or a new one whose ids count from `first_id`."""
    nothing, none = np.empty(0, np.int64), np.empty(0, np.bool_)
    if last is None:
        return Line(instrument, first_id, first_id // 2, instrument.start_ticks, nothing, none)
    return Line(instrument, int(last["id"]) + 1, int(last["agg_id"]) + 1, int(last["price"]), nothing, none)


def leaders(symbols: Sequence[str], pairs: Sequence[str]) -> dict[str, str]:
    """Which symbol follows which (Y: X), from pair names Y_X; a symbol follows at most one, never in a circle.

    >>> leaders(("A", "B", "C"), ("A_B", "B_A", "A_C", "C_B"))
    {'A': 'B', 'C': 'B'}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        legs = pair_legs(pair, tuple(symbols))
        if legs is not None and legs[0] not in found and legs[0] not in _chain(legs[1], found):
            found[legs[0]] = legs[1]
    return found


class Market:
    """All symbols from `start_us` on; `advance` gives the trades of each interval `[now, until)`."""

    def __init__(self, lines: Sequence[Line], follows: dict[str, str], rate: float, seed: int, start_us: int) -> None:
        """Args: `rate` in trades a second over all symbols; the same seed, lines and steps give the same trades."""
        self.lines = sorted(lines, key=lambda line: len(_chain(line.instrument.symbol, follows)))
        self.now_us = self._walked_us = self._opened_us = start_us
        self._rng = np.random.default_rng([seed, *(line.next_id for line in self.lines)])
        self._clusters_a_us = rate / len(lines) / (FILLS_AN_ORDER * ORDERS_A_CLUSTER) / 1e6
        at = {line.instrument.symbol: column for column, line in enumerate(self.lines)}
        self._leader = [at.get(follows.get(line.instrument.symbol, "")) for line in self.lines]
        self._log = np.array([math.log(line.last_ticks / 10**line.instrument.price_decimals) for line in self.lines])
        self._spread = np.zeros(len(lines))
        self._anchor = np.zeros(len(lines))
        self._anchor_followers()

    def advance(self, until_us: int) -> list[tuple[str, Rows]]:
        """Move to `until_us` and give each symbol's trades on the way, TRADE rows by time; [] where time stands still."""
        steps: list[tuple[str, Rows]] = []
        while self.now_us < until_us:
            steps.extend(self._step(min(until_us, self.now_us + LONGEST_STEP_US)))
        return steps

    def skip_to(self, now_us: int) -> None:
        """Nothing was traded until `now_us`: a hole in time, not in ids."""
        self.now_us = self._walked_us = self._opened_us = max(self.now_us, now_us)
        for line in self.lines:
            line.due_us, line.due_sells = line.due_us[:0], line.due_sells[:0]

    def _step(self, until_us: int) -> list[tuple[str, Rows]]:
        while self._opened_us < until_us:
            self._open_second()
        self.now_us = until_us
        trading = [column for column, line in enumerate(self.lines) if len(line.due_us) and line.due_us[0] < until_us]
        if not trading and until_us - self._walked_us < LONGEST_STEP_US:
            return []
        start_us, self._walked_us = self._walked_us, until_us
        path = self._walk(until_us - start_us)
        return [
            (self.lines[column].instrument.symbol, self._trade(self.lines[column], start_us, until_us, path[:, column]))
            for column in trading
        ]

    def _open_second(self) -> None:
        """Draw the clusters that open in the rest of the second: one, where the rate allows it, so that every 1s bar has a
        trade, and the others at random."""
        start_us = self._opened_us
        self._opened_us = start_us - start_us % 1_000_000 + 1_000_000
        wanted = self._clusters_a_us * 1e6
        sure = int(wanted >= 1)
        share = (self._opened_us - start_us) / 1e6
        for line in self.lines:
            self._open_clusters(line, start_us, self._opened_us, sure + int(self._rng.poisson((wanted - sure) * share)))

    def _walk(self, span_us: int) -> Floats:
        """Fair log prices on a grid over the step, shape (points, symbols); the last row is where the next step starts."""
        points = -(-span_us // GRID_US)
        dt_s = span_us / points / 1e6
        noise = self._rng.standard_normal((points, len(self.lines)))
        path = np.cumsum(noise, axis=0)
        phi = 0.5 ** (dt_s / SPREAD_HALF_LIFE_S)
        powers = phi ** np.arange(1, points + 1)
        for column, leader in enumerate(self._leader):
            if leader is None:
                path[:, column] = self._log[column] + path[:, column] * WALK_SD * math.sqrt(dt_s)
                continue
            shocks = noise[:, column] * SPREAD_SD * math.sqrt(1 - phi * phi)
            spread = powers * (self._spread[column] + np.cumsum(shocks / powers))
            path[:, column] = path[:, leader] + self._anchor[column] + spread
            self._spread[column] = spread[-1]
        self._log = path[-1].copy()
        return path

    def _open_clusters(self, line: Line, start_us: int, end_us: int, wanted: int) -> None:
        rng = self._rng
        openings = rng.integers(start_us, end_us, wanted)
        orders = rng.geometric(1 / ORDERS_A_CLUSTER, len(openings))
        gaps_us = (rng.exponential(ORDER_GAP_US, orders.sum()) * (rng.random(orders.sum()) > 0.2)).astype(np.int64)
        gaps_us[np.cumsum(orders) - orders] = 0
        due_us = np.concatenate([line.due_us, np.repeat(openings, orders) + gaps_us])
        sells = np.concatenate([line.due_sells, np.repeat(rng.random(len(openings)) < 0.5, orders)])
        order = np.argsort(due_us, kind="stable")
        line.due_us, line.due_sells = due_us[order], sells[order]

    def _trade(self, line: Line, start_us: int, until_us: int, path: Floats) -> Rows:
        due = int(np.searchsorted(line.due_us, until_us))
        times_us, sells = line.due_us[:due], line.due_sells[:due]
        line.due_us, line.due_sells = line.due_us[due:], line.due_sells[due:]
        points = np.minimum((times_us - start_us) * len(path) // (until_us - start_us), len(path) - 1)
        mids = np.exp(path[points]) * 10.0**line.instrument.price_decimals
        fills = self._rng.geometric(1 / FILLS_AN_ORDER, due)
        prices = np.repeat(np.floor(mids).astype(np.int64) + ~sells, fills) + self._levels(fills, sells, line.last_ticks)
        return self._number(line, np.maximum(prices, 1), np.repeat(times_us, fills), np.repeat(sells, fills), fills)

    def _levels(self, fills: Ints, sells: npt.NDArray[np.bool_], ticks: int) -> Ints:
        """Ticks each fill is away from the best price: up for a buyer, down for a seller, never back within an order."""
        total = int(fills.sum())
        moves = (self._rng.random(total) < NEXT_LEVEL) * self._rng.integers(1, 2 + ticks // 200_000, total)
        firsts = np.cumsum(fills) - fills
        moves[firsts] = 0
        away = np.cumsum(moves)
        levels: Ints = (away - np.repeat(away[firsts], fills)) * np.repeat(np.where(sells, -1, 1), fills)
        return levels

    def _number(self, line: Line, prices: Ints, times_us: Ints, sells: npt.NDArray[np.bool_], fills: Ints) -> Rows:
        rows = np.empty(len(prices), TRADE)
        rows["id"] = np.arange(line.next_id, line.next_id + len(rows))
        rows["agg_id"] = aggregate_ids(np.repeat(np.arange(len(fills)), fills), prices, line.next_agg_id)
        rows["price"], rows["time_us"], rows["buyer_is_maker"] = prices, times_us, sells
        rows["size"] = self._sizes(line, len(rows))
        line.next_id, line.next_agg_id = line.next_id + len(rows), int(rows["agg_id"][-1]) + 1
        line.last_ticks = int(prices[-1])
        return rows

    def _sizes(self, line: Line, count: int) -> Ints:
        price = line.last_ticks / 10**line.instrument.price_decimals
        median_lots = MEDIAN_NOTIONAL / price * 10**line.instrument.size_decimals
        lots = median_lots * np.exp(1.6 * self._rng.standard_normal(count))
        whole: Ints = np.clip(lots, 1, 1e12).astype(np.int64)
        return whole

    def _anchor_followers(self) -> None:
        """Each follower's constant is that of the start prices; where the last prices deny it, the market re-anchors."""
        for column, leader in enumerate(self._leader):
            if leader is None:
                continue
            at_start, now = _log_start(self.lines[column]) - _log_start(self.lines[leader]), self._log[column] - self._log[leader]
            near = abs(now - at_start) < 8 * SPREAD_SD
            self._anchor[column] = at_start if near else now
            self._spread[column] = now - self._anchor[column]


def _chain(symbol: str, follows: dict[str, str]) -> list[str]:
    chain = [symbol]
    while (leader := follows.get(chain[-1])) is not None:
        chain.append(leader)
    return chain


def _log_start(line: Line) -> float:
    return math.log(line.instrument.start_ticks / 10**line.instrument.price_decimals)
