"""`python -m bench.pairs`: what the statistics of a pair and bar cost, alone and with the row stored.

1,000 pairs over 200 symbols at 1s bars: least squares, total least squares and the Kalman filter, each with all statistics that
are O(1) a bar, one step of all pairs a bar. Beside them in the same run, a bar each: RollingOLS over all bars at once and again
for each bar, pandas again for each bar, and an online update in plain Python. The stored rows go into a private PostgreSQL with
fsync on, a transaction a bar, the way that the aggregator writes them.
"""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from aggregator.legs import LegBar, Row
from aggregator.pairmath import Rolling
from aggregator.pairrows import Made, insert_rows
from aggregator.pairwindow import Values
from bench.cpu import CpuMeter
from bench.report import several, show
from common.database import connect_database, transaction
from common.pairmethod import PairMethod
from common.pairseries import SeriesKey
from common.partitions import ensure_month_leaves
from common.settings import Settings
from ops.embedded import PrivateServers
from ops.migrate import migrate

Array = np.ndarray[Any, Any]
ESTIMATORS = ("ols", "tls", "kalman")
SECOND_US = 1_000_000
FIRST_US = 1_700_000_000 * SECOND_US
#: Bars that the peers see: they are slow, and their cost a bar does not hang on how many there are.
PEER_BARS = 300


def measure(pairs: int, symbols: int, window: int, bars: int, stored_bars: int) -> dict[str, Any]:
    """Run once; answers the figures, microseconds of CPU a pair and bar."""
    prices = made_prices(symbols, window + bars)
    legs = made_pairs(pairs, symbols)
    found: dict[str, Any] = {"pairs": pairs, "symbols": symbols, "window": window, "bars": bars}
    costs = {name: _rolling_us(name, window, prices, legs) for name in ESTIMATORS}
    found["rolling_us"] = {name: round(mean, 3) for name, (mean, _) in costs.items()}
    found["all_rolling_us"] = round(sum(mean for mean, _ in costs.values()), 3)
    found["slowest_bar_ms"] = {name: round(slowest / 1000, 2) for name, (_, slowest) in costs.items()}
    found["huber_us"] = round(_rolling_us("huber", window, prices[:, : window + 10], legs)[0], 1)
    found["peers_us"] = _peers_us(window, prices[0], prices[1])
    found |= _stored(window, made_prices(symbols, 2 * window + stored_bars), legs)
    return found


def made_prices(symbols: int, bars: int) -> Array:
    """(symbols, bars) closes in cents: walks that share half of what moves them."""
    rng = np.random.default_rng(1)
    common = rng.normal(0, 0.03, bars)
    walks: Array = rng.uniform(50, 500, (symbols, 1)) + (common + rng.normal(0, 0.03, (symbols, bars))).cumsum(axis=1)
    return np.round(walks, 2)


def made_pairs(pairs: int, symbols: int) -> Array:
    """(pairs, 2): which symbols are y and x."""
    every = np.stack(np.triu_indices(symbols, 1), axis=1)
    if pairs > len(every):
        raise click.BadParameter(f"{symbols} symbols have only {len(every)} pairs, was {pairs}", param_hint="--pairs")
    chosen: Array = every[np.linspace(0, len(every) - 1, pairs).astype(int)]
    return chosen


def _rolling_us(text: str, window: int, prices: Array, legs: Array) -> tuple[float, float]:
    """Microseconds a pair and bar; and those of the slowest bar, all pairs."""
    rolling, slots = _loaded(text, window, prices, legs)
    spent = []
    for bar in range(window, prices.shape[1]):
        starts_us = np.full(len(legs), FIRST_US + bar * SECOND_US)
        began_s = time.process_time()
        closes = prices[:, bar]
        rolling.step(slots, closes[legs[:, 0]], closes[legs[:, 1]], starts_us)
        spent.append(time.process_time() - began_s)
    return sum(spent) / len(spent) / len(legs) * 1e6, max(spent) * 1e6


def _loaded(text: str, window: int, prices: Array, legs: Array) -> tuple[Rolling, Array]:
    rolling = Rolling(PairMethod.parse(text), window, len(legs))
    starts_us = FIRST_US + np.arange(window) * SECOND_US
    for slot, (y, x) in enumerate(legs):
        rolling.load(slot, prices[y, :window], prices[x, :window], np.full(window, np.nan), starts_us)
    return rolling, np.arange(len(legs))


def _peers_us(window: int, y: Array, x: Array) -> dict[str, float]:
    """Of one pair."""
    import pandas as pd
    from statsmodels.regression.rolling import RollingOLS

    bars = min(PEER_BARS, len(y) - window)
    y, x = y[: window + bars], x[: window + bars]
    with_one = np.column_stack((np.ones(len(x)), x))
    frame, lists = pd.DataFrame({"y": y, "x": x}), (y.tolist(), x.tolist())

    def recomputed(one_bar: Callable[[int], Any]) -> Callable[[], Any]:
        return lambda: [one_bar(bar) for bar in range(window, window + bars)]

    def pandas_bar(bar: int) -> float:
        part = frame.iloc[bar - window + 1 : bar + 1]
        slope = part.y.cov(part.x) / part.x.var()
        spread = part.y - slope * part.x
        return float((spread.iloc[-1] - spread.mean()) / spread.std()) + float(part.y.corr(part.x))

    return {
        "RollingOLS, all bars at once": _per_bar_us(lambda: RollingOLS(y, with_one, window).fit(params_only=True), len(y)),
        "RollingOLS, again each bar": _per_bar_us(
            recomputed(lambda bar: RollingOLS(y[bar - window : bar], with_one[bar - window : bar], window).fit(params_only=True)),
            bars,
        ),
        "pandas (slope, z, correlation), again each bar": _per_bar_us(recomputed(pandas_bar), bars),
        "plain Python online (slope, z, correlation; inexact)": _per_bar_us(lambda: _online(window, *lists), len(y)),
    }


def _per_bar_us(run: Callable[[], Any], bars: int) -> float:
    """The quickest of three."""
    spent = []
    for _ in range(3):
        began_s = time.process_time()
        run()
        spent.append(time.process_time() - began_s)
    return round(min(spent) / bars * 1e6, 2)


def _online(window: int, y: list[float], x: list[float]) -> float:
    """Running sums, updated and reverted: quick, and wrong for ever after one bad print."""
    rows: deque[tuple[float, float, float]] = deque()
    n, sy, sx, syy, sxx, sxy, ss, sss, score = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for one, two in zip(y, x, strict=True):
        n, sy, sx, syy, sxx, sxy = n + 1, sy + one, sx + two, syy + one * one, sxx + two * two, sxy + one * two
        if n > window:
            old, other, spread = rows.popleft()
            n, sy, sx, syy, sxx, sxy = n - 1, sy - old, sx - other, syy - old * old, sxx - other * other, sxy - old * other
            ss, sss = ss - spread, sss - spread * spread
        cxx, cyy, cxy = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
        slope = cxy / cxx if cxx > 0 else 0.0
        spread = one - slope * two
        ss, sss = ss + spread, sss + spread * spread
        rows.append((one, two, spread))
        variance = sss - ss * ss / n
        score += (spread - ss / n) / (variance / n) ** 0.5 if variance > 0 else 0.0
        score += cxy / (cxx * cyy) ** 0.5 if cxx > 0 and cyy > 0 else 0.0
    return score


def _stored(window: int, prices: Array, legs: Array) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="gems-bench-"))
    try:
        with PrivateServers(folder) as servers:
            return _store(servers, window, prices, legs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _store(servers: PrivateServers, window: int, prices: Array, legs: Array) -> dict[str, Any]:
    url = servers.postgres_url("gems_pairs")
    migrate(url)
    connection = connect_database(Settings.from_env({}, database_url=url, redis_url=servers.redis_url()))
    ensure_month_leaves(connection, [datetime.fromtimestamp(FIRST_US / 1e6, UTC).date()])
    rolling, slots = _loaded("ols", window, prices, legs)
    for bar in range(window, 2 * window):  # so that no window of spreads is empty, and no value NULL
        rolling.step(slots, prices[legs[:, 0], bar], prices[legs[:, 1], bar], np.full(len(legs), FIRST_US + bar * SECOND_US))
    keys = [SeriesKey(f"S{y}_S{x}", "1s", window) for y, x in legs.tolist()]
    bars = prices.shape[1] - 2 * window
    meter, began_s, began_cpu_s = CpuMeter({"postgres": servers.processes["postgres"].pid}), time.monotonic(), time.process_time()
    for bar in range(2 * window, 2 * window + bars):
        _one_bar(connection, rolling, slots, keys, prices[:, bar], legs, FIRST_US + bar * SECOND_US)
    client_s, took_s, server_s = time.process_time() - began_cpu_s, time.monotonic() - began_s, meter.used_s()["postgres"]
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM spread_analytics")
        (rows,) = cursor.fetchone() or (0,)
    connection.close()
    assert rows == bars * len(legs), f"{rows} rows stored, not {bars * len(legs)}"
    return {
        "stored_us": {
            "ours": round(client_s / rows * 1e6, 2),
            "postgres": round(server_s / rows * 1e6, 2),
            "total": round((client_s + server_s) / rows * 1e6, 2),
        },
        "stored_rows_per_s": round(rows / took_s),
    }


def _one_bar(
    connection: Any, rolling: Rolling, slots: Array, keys: list[SeriesKey], closes: Array, legs: Array, start_us: int
) -> None:
    """Statistics, rows, a transaction."""
    bars = [LegBar(start_us, f"{close:.2f}", close, False) for close in closes.tolist()]
    found, _ = rolling.step(slots, closes[legs[:, 0]], closes[legs[:, 1]], np.full(len(legs), start_us))
    block_us = start_us // (30 * SECOND_US) * 30 * SECOND_US
    made = [
        Made(key, Row(start_us, (bars[y], bars[x]), ""), Values(statistics), block_us)
        for key, (y, x), statistics in zip(keys, legs.tolist(), found.rows(), strict=True)
    ]
    with transaction(connection), connection.cursor() as cursor:
        insert_rows(cursor, made)


@click.command()
@click.option("--pairs", default=1_000, show_default=True)
@click.option("--symbols", default=200, show_default=True)
@click.option("--window", default=60, show_default=True)
@click.option("--bars", default=600, show_default=True, help="Bars to compute.")
@click.option("--stored-bars", default=40, show_default=True, help="Bars to compute and store.")
@click.option("--runs", default=3, show_default=True, help="Medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(pairs: int, symbols: int, window: int, bars: int, stored_bars: int, runs: int, as_json: bool) -> None:
    """Measure pair statistics."""
    found = several(lambda: measure(pairs, symbols, window, bars, stored_bars), runs)
    show("Pair statistics: us of CPU a pair and bar", found, as_json)


if __name__ == "__main__":
    main()
