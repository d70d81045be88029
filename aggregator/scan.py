"""A scan: all pairs of some symbols, tested and measured on their newest stored rows; a task, for each pair costs milliseconds.

Each pair is aligned as its live rows are, so that its hedge ratio, z-score and correlations are those of the row that the live
stage writes at that bar. Engle-Granger is asked both ways, and Y is the leg whose residuals are the more stationary (the lower
statistic). Of n pairs at the 5 % level n / 20 pass by chance, and more by choosing the better way: a ranking, not a proof.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from aggregator.pairmath import batch
from aggregator.pairmath.cointegration import engle_granger, hurst
from common.closes import Line, align, closed_until_us, newest_lines
from common.database import transaction
from common.pairmethod import PairMethod
from common.settings import Settings
from common.tasks import Task, create_task, tell_progress
from common.timeframes import timeframe_us
from common.trades import from_us, to_us
from common.view import committed_view

#: Results are stored this often, so that a crash costs little and the task stays ours.
STORE_EVERY_S = 1.0
_METHOD = PairMethod()
_BEGIN = """
INSERT INTO scan_runs (scan_id, timeframe, window_bars, symbols, computed_on, pairs) VALUES (%s, %s, %s, %s, %s, %s)
"""
_STORE = """
INSERT INTO pair_scans (scan_id, symbol_pair, symbol1, symbol2, rows, carried, coint_statistic, coint_pvalue, other_way_pvalue,
    hedge_ratio, spread, z_score, half_life, hurst, correlation, return_correlation) VALUES %s ON CONFLICT DO NOTHING
"""
_DONE = "SELECT symbol1, symbol2 FROM pair_scans WHERE scan_id = %s"
#: Only the newest finished scan of its kind is kept, and no remains of one that was given up.
_FORGET = """
DELETE FROM scan_runs old USING scan_runs new WHERE new.scan_id = %s AND old.scan_id <> new.scan_id
    AND (old.timeframe, old.window_bars) = (new.timeframe, new.window_bars)
    AND (old.finished_at <= new.finished_at OR old.finished_at IS NULL AND old.started_at < now() - interval '1 day')
"""
_WAITING = """
SELECT EXISTS (SELECT 1 FROM tasks WHERE kind = 'scan' AND state IN ('queued', 'running') AND params ->> 'timeframe' = %s)
"""


class Scanned(NamedTuple):
    """What a scan says of a pair; None where undefined. `carried`: rows of the window that used a carried close."""

    symbol1: str
    symbol2: str
    rows: int
    carried: int
    coint_statistic: float | None
    coint_pvalue: float | None
    other_way_pvalue: float | None
    hedge_ratio: float | None
    spread: float | None
    z_score: float | None
    half_life: float | None
    hurst: float | None
    correlation: float | None
    return_correlation: float | None


def scan(
    settings: Settings, connection: Connection, task: Task, pause: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Scan; goes on where an earlier attempt stopped, on the same bars. Answers the counts of the task."""
    timeframe, window = task.params["timeframe"], int(task.params.get("window", settings.window))
    stale_us = settings.stale_leg_s * 1_000_000
    with transaction(connection), connection.cursor() as cursor:
        lines = _lines(cursor, settings, task, timeframe, window, stale_us)
        cursor.execute(_DONE, (task.task_id,))
        done = {frozenset(row) for row in cursor.fetchall()}
    pairs = [pair for pair in combinations(sorted(lines), 2) if frozenset(pair) not in done]
    total, found, stored_s = len(done) + len(pairs), list[Scanned](), time.monotonic()
    for number, (first, second) in enumerate(pairs, 1):
        found.append(scan_pair((first, lines[first]), (second, lines[second]), window, stale_us))
        if time.monotonic() - stored_s >= STORE_EVERY_S or number == len(pairs):
            _store(connection, task.task_id, found)
            tell_progress(connection, task.task_id, (len(done) + number) / total, {"pairs": len(done) + number})
            pause()
            found, stored_s = [], time.monotonic()
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("UPDATE scan_runs SET finished_at = now() WHERE scan_id = %s", (task.task_id,))
        cursor.execute(_FORGET, (task.task_id,))
    return {"pairs": total}


def scan_pair(one: tuple[str, Line], other: tuple[str, Line], window: int, stale_us: int) -> Scanned:
    """Measure two symbols on their newest `2 window - 1` rows; Y is the leg that is explained better."""
    aligned = align([one[1], other[1]], stale_us, 2 * window - 1, complete=True)
    closes, carried = aligned.closes, aligned.carried[:, -window:].any(axis=0)
    count = min(closes.shape[1], window)
    if closes.shape[1] < window:
        return Scanned(one[0], other[0], count, int(carried.sum()), *[None] * 10)
    tests = [engle_granger(closes[y, -window:], closes[1 - y, -window:]) for y in (0, 1)]
    y = int((tests[1].statistic or 0.0) < (tests[0].statistic or 0.0))
    names = ((one[0], other[0]), (other[0], one[0]))[y]
    new = min(window, closes.shape[1])
    values, _ = batch(_METHOD, window, closes[y], closes[1 - y], aligned.starts_us, np.zeros(0), new)
    last = [values.hedge_ratio, values.spread, values.z_score, values.half_life, values.correlation, values.return_correlation]
    slope, spread, z_score, half_life, *both = [None if column[-1] != column[-1] else float(column[-1]) for column in last]
    memory = hurst(values.spread) if np.isfinite(values.spread).all() else None
    return Scanned(
        *names, count, int(carried.sum()), tests[y].statistic, tests[y].pvalue, tests[1 - y].pvalue, slope, spread, z_score,
        half_life, memory, *both,
    )  # fmt: skip


def _lines(
    cursor: Cursor, settings: Settings, task: Task, timeframe: str, window: int, stale_us: int
) -> Mapping[str, Line]:
    """The bars that the scan looks at; its first attempt says up to where."""
    cursor.execute("SELECT symbols, computed_on FROM scan_runs WHERE scan_id = %s", (task.task_id,))
    begun = cursor.fetchone()
    length_us, bars = timeframe_us(timeframe), 2 * window
    if begun:
        return newest_lines(cursor, timeframe, begun[0], to_us(begun[1]) + length_us, bars) if begun[1] else {}
    symbols: Sequence[str] = task.params.get("symbols") or settings.symbols
    until_us = closed_until_us(committed_view(cursor, settings).watermarks, symbols, stale_us)
    lines = newest_lines(cursor, timeframe, symbols, until_us, bars) if until_us is not None else {}
    newest_us = max((int(line.starts_us[-1]) for line in lines.values()), default=None)
    pairs = len(lines) * (len(lines) - 1) // 2
    computed_on = None if newest_us is None else from_us(newest_us)
    cursor.execute(_BEGIN, (task.task_id, timeframe, window, list(symbols), computed_on, pairs))
    return lines


def _store(connection: Connection, scan_id: str, found: Sequence[Scanned]) -> None:
    with transaction(connection), connection.cursor() as cursor:
        rows = [(scan_id, f"{pair.symbol1}_{pair.symbol2}", *pair) for pair in found]
        execute_values(cursor, _STORE, rows, page_size=1000)


def queue_due_scans(settings: Settings, connection: Connection, now_s: float) -> None:
    """Make the scans that GEMS_SCAN_EVERY_S asks for: one a timeframe and period, whoever asks how often, unless one waits."""
    if not settings.scan_every_s or len(settings.symbols) < 2:
        return
    for timeframe in settings.timeframes:
        with transaction(connection), connection.cursor() as cursor:
            cursor.execute(_WAITING, (timeframe,))
            waits = cursor.fetchone()
        if waits and waits[0]:
            continue
        params = {"timeframe": timeframe, "window": settings.window, "symbols": list(settings.symbols)}
        key = f"scan {timeframe} {settings.scan_every_s} {int(now_s // settings.scan_every_s)}"
        create_task(connection, "scan", params, idempotency_key=key)
