"""Millions of ticks and all their bars in a house that runs no process: what benches of reads ask for."""

import time
from typing import Any

from aggregator.barstore import BarLeaves
from aggregator.rebuild import Span, rebuild
from bench.backlog import leave_a_checkpoint, make_leaves, names_of
from common.database import transaction
from common.trades import from_us
from tests.pipeline import Pipeline

SYMBOLS = 10
TIMEFRAMES = ("1s", "1m", "5m")
SECOND_US = 1_000_000
FILL_ROWS = 1_000_000
_TICKS = """
INSERT INTO raw_ticks (symbol, trade_id, timestamp, price, size, side)
SELECT 'SYM' || n %% %(symbols)s || 'USDT', n / %(symbols)s + 1, %(first)s + n * %(every_us)s * interval '1 microsecond',
    (40000 + n %% 3001) * 0.01, (1 + n %% 999999) * 0.00001, CASE WHEN n %% 3 = 0 THEN 's' ELSE 'b' END
FROM generate_series(%(from)s::bigint, %(to)s - 1) AS n
"""
_SOURCES = "INSERT INTO sources (symbol, src) SELECT unnest(%s), 'bench' ON CONFLICT DO NOTHING"
_COUNTED = "INSERT INTO writer_positions (worker, stream, position_ms, position_seq, stored) VALUES ('bench', 'bench', 0, 0, %s)"


def fill(pipeline: Pipeline, ticks: int, per_s: int) -> int:
    """Ticks up to now at `per_s` of event time, and all their bars; answers how many bars."""
    leave_a_checkpoint(pipeline)  # before the ticks: else the aggregator would build bars of all of them first
    every_us, until_us = SECOND_US // per_s, time.time_ns() // 1000 // SECOND_US * SECOND_US
    first_us = until_us - ticks * every_us
    make_leaves(pipeline.database, first_us, until_us)
    named = {"symbols": SYMBOLS, "first": from_us(first_us), "every_us": every_us}
    for at in range(0, ticks, FILL_ROWS):
        _run(pipeline, _TICKS, {**named, "from": at, "to": min(at + FILL_ROWS, ticks)})
    _run(pipeline, _SOURCES, (list(names_of(SYMBOLS)),))
    _run(pipeline, _COUNTED, (ticks,))
    _tidy(pipeline)
    for name in names_of(SYMBOLS):
        rebuild(pipeline.database, BarLeaves(), Span(name, first_us, until_us - 1), TIMEFRAMES, until_us + 600 * SECOND_US, 1)
    _tidy(pipeline)
    return int(pipeline.scalar("SELECT count(*) FROM processed_bars"))


def _run(pipeline: Pipeline, statement: str, params: Any) -> None:
    with transaction(pipeline.database), pipeline.database.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute(statement, params)


def _tidy(pipeline: Pipeline) -> None:
    """As autovacuum leaves it, so that nothing of the filling goes on while requests are measured."""
    pipeline.database.autocommit = True
    with pipeline.database.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")
    pipeline.database.autocommit = False
