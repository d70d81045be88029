"""The core of the house for tests: writers, aggregator and tasks as real processes, fed by entries that a test makes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.codec import encode_rows
from common.database import transaction
from common.settings import Settings
from common.streams import GROUP, append, shard_of, stream_names
from common.trades import Trade
from ops.house import ROOT

DUE_MARKS = """
SELECT count(*) FROM dirty_ranges d WHERE due_us <= coalesce(
    (SELECT max(value::bigint) FROM checkpoints, jsonb_each_text(watermarks) WHERE key = d.symbol),
    (SELECT min(position_ms) * 1000 FROM checkpoints), 0)
"""
#: Every way in which stored bars and an aggregate of stored ticks can differ; `is_marked`: a rebuild is on its way.
DIFFERENCES = f"""
WITH ticks AS (
    SELECT symbol, tf.name AS timeframe, date_bin(tf.length, timestamp, 'epoch'::timestamptz) AS bar, price, size, trade_id, side,
        row_number() OVER w AS n, count(*) OVER (PARTITION BY symbol, tf.name, date_bin(tf.length, timestamp, 'epoch')) AS of
    FROM raw_ticks, (VALUES ('1s', interval '1 second'), ('1m', '1 minute'), ('5m', '5 minutes')) AS tf (name, length)
    WINDOW w AS (PARTITION BY symbol, tf.name, date_bin(tf.length, timestamp, 'epoch')
        ORDER BY timestamp, coalesce(seq, 0), trade_id)),
expected AS (
    SELECT symbol, timeframe, bar AS timestamp, max(price) FILTER (WHERE n = 1) AS open, max(price) AS high, min(price) AS low,
        max(price) FILTER (WHERE n = of) AS close, sum(size) AS volume, count(*)::integer AS tick_count,
        sum(price * size) AS quote_volume, coalesce(sum(size) FILTER (WHERE side = 'b'), 0) AS taker_buy_volume,
        coalesce(sum(price * size) FILTER (WHERE side = 'b'), 0) AS taker_buy_quote_volume,
        max(trade_id) FILTER (WHERE n = 1) AS first_trade_id, max(trade_id) FILTER (WHERE n = of) AS last_trade_id
    FROM ticks GROUP BY symbol, timeframe, bar),
found AS (
    SELECT symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, taker_buy_volume,
        taker_buy_quote_volume, first_trade_id, last_trade_id FROM processed_bars WHERE timeframe IN ('1s', '1m', '5m')),
due AS ({DUE_MARKS.replace("count(*)", "d.*")})
SELECT *, EXISTS (SELECT 1 FROM due m WHERE m.symbol = d.symbol AND m.last_us >= extract(epoch FROM d.timestamp) * 1000000
    AND m.first_us < extract(epoch FROM d.timestamp + d.length) * 1000000) AS is_marked
FROM (SELECT *, CASE timeframe WHEN '1s' THEN interval '1 second' WHEN '1m' THEN '1 minute' ELSE '5 minutes' END AS length FROM (
    SELECT 'wrong or missing', e.* FROM (TABLE expected EXCEPT TABLE found) e
    UNION ALL SELECT 'not in ticks', f.* FROM (TABLE found EXCEPT TABLE expected) f) u) d
WHERE timeframe = '1s' OR timestamp < (SELECT max(timestamp) - interval '5 minutes' FROM raw_ticks) OR timestamp + length <= %s
ORDER BY is_marked LIMIT 20
"""  # noqa: S608


MARKS = "TABLE dirty_ranges LIMIT 5"
#: Pair rows that still have to follow a rebuild, and windows that the aggregator still has to read again.
FOLLOWERS = """
SELECT (SELECT count(*) FROM rebuilt_bars)
    + (SELECT count(*) FROM pair_reloads r JOIN checkpoints c ON c.watermarks ? r.symbol)
"""


class Pipeline:
    """Processes by name, and what a test does with them."""

    def __init__(self, settings: Settings, client: redis.Redis, database: Connection) -> None:
        self.settings, self.client, self.database = settings, client, database
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start `writer_N`, `aggregator_N`, `tasks` or `notifier`."""
        for name in names:
            kind, _, number = name.partition("_")
            command = {
                "writer": ["consumer", "--worker", number],
                "aggregator": ["aggregator", "--shard", number],
                "tasks": ["aggregator.tasks"],
                "notifier": ["aggregator.notifier"],
            }[kind]
            environ = {**os.environ, **self.settings.to_env()}
            self.processes[name] = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environ)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(60)

    def stop(self) -> None:
        """Ask all to stop, and see that they do."""
        self.wait(lambda: all(map(_listens, self.processes.values())), 60, "process that listens to a signal")
        for process in self.processes.values():
            process.terminate()
        codes = {name: process.wait(60) for name, process in self.processes.items()}
        assert set(codes.values()) <= {0}, codes

    def send(self, trades: Sequence[Trade], src: str = "binance.trade", rows: int = 500, at_once: bool = False) -> None:
        """Append trades as the producer would. `at_once`: no time passes between their entries, in which a bar might close."""
        names = stream_names(self.settings)
        by_stream: dict[str, list[Trade]] = {}
        for trade in trades:
            by_stream.setdefault(names[shard_of(trade.symbol, len(names))], []).append(trade)
        pipe = self.client.pipeline(transaction=at_once)
        for stream, of_stream in by_stream.items():
            for at in range(0, len(of_stream), rows):
                batch = of_stream[at : at + rows]
                append(pipe, stream, src, encode_rows(batch), len(batch))
        pipe.execute()

    def scalar(self, query: str, *params: Any) -> Any:
        """First column of a query's first row."""
        with transaction(self.database), self.database.cursor() as cursor:
            cursor.execute(query, params or None)
            row = cursor.fetchone()
        return row[0] if row else None

    def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with transaction(self.database), self.database.cursor() as cursor:
            cursor.execute(query, params or None)
            return cursor.fetchall()

    def is_at_rest(self) -> bool:
        """Everything stored, everything aggregated, nothing marked."""
        for shard, stream in enumerate(stream_names(self.settings)):
            if not self.client.exists(stream):
                continue
            last = self.client.xinfo_stream(stream)["last-generated-id"].decode()
            groups = [group for group in self.client.xinfo_groups(stream) if group["name"] == GROUP.encode()]
            position = self.scalar("SELECT position_ms || '-' || position_seq FROM checkpoints WHERE shard = %s", shard)
            if not groups or groups[0]["last-delivered-id"].decode() != last or groups[0]["pending"] or position != last:
                return False
        return self.scalar(DUE_MARKS) == self.scalar(FOLLOWERS) == 0

    def settle(self, deadline_s: float = 60.0, closed: Callable[[], bool] = lambda: True) -> None:
        """Wait until all is at rest and the 1s bar of each symbol's last trade is closed.

        Before it is asked for bars, all ticks are stored; after it, a bar that has closed meanwhile may be marked.
        """
        self.wait(lambda: self.is_at_rest() and self._last_bars_closed() and closed() and self.is_at_rest(), deadline_s, "rest")

    def wait(self, reached: Callable[[], Any], deadline_s: float, what: str) -> None:
        """Poll until true; fails with a sentence, and when a process has died by itself."""
        until_s = time.monotonic() + deadline_s
        while not reached():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended by themselves"
            assert time.monotonic() < until_s, f"no {what} after {deadline_s} s; marks: {self.rows(MARKS)}; {self._state()}"
            time.sleep(0.05)

    def _state(self) -> str:
        """What `is_at_rest` looks at, for the sentence of a failure."""
        group = {stream: (self.client.xinfo_stream(stream)["last-generated-id"], self.client.xinfo_groups(stream))
                 for stream in stream_names(self.settings) if self.client.exists(stream)}  # fmt: skip
        gaps = self.rows("SELECT symbol, first_id, last_id, state, note FROM gaps WHERE state <> 'closed' LIMIT 5")
        positions = self.rows("SELECT shard, position_ms, position_seq, watermarks FROM checkpoints")
        counts = [self.scalar(query) for query in (DUE_MARKS, FOLLOWERS)]
        return f"streams {group}; checkpoints {positions}; due marks, followers {counts}; gaps {gaps}"

    def differences(self) -> list[tuple[Any, ...]]:
        """Where closed bars and ticks differ; empty: law 3 holds.

        The clock closes bars at rest too, and one that can not be proved is marked until its rebuild: that is waited for.
        """
        closed_us = self.scalar("SELECT min(value::bigint) FROM checkpoints, jsonb_each_text(watermarks)")
        found = self.rows(DIFFERENCES.replace("%s", f"to_timestamp({closed_us} / 1000000.0)"))
        unmarked = [row[:-2] for row in found if not row[-1]]
        if unmarked or not found:
            return unmarked
        self.settle()
        return self.differences()

    def _last_bars_closed(self) -> bool:
        missing = self.scalar(
            "SELECT count(*) FROM (SELECT symbol, max(timestamp) AS newest FROM raw_ticks GROUP BY symbol) t WHERE NOT EXISTS"
            " (SELECT 1 FROM processed_bars b WHERE b.symbol = t.symbol AND b.timeframe = '1s'"
            "  AND b.timestamp = date_trunc('second', t.newest))"
        )
        return bool(missing == 0)


def _listens(process: "subprocess.Popen[bytes]") -> bool:
    """True once it takes SIGTERM for a question; before that, in its first half second, it ends by it as any program does."""
    status = Path(f"/proc/{process.pid}/status")
    caught = re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.MULTILINE) if status.exists() else None
    return caught is None or int(caught[1], 16) & 1 << (signal.SIGTERM - 1) != 0


@contextmanager
def a_pipeline(settings: Settings, client: redis.Redis, database: Connection, *names: str) -> Iterator[Pipeline]:
    """A pipeline with these processes; they must stop cleanly at the end."""
    pipeline = Pipeline(settings, client, database)
    try:
        pipeline.start(*names)
        yield pipeline
        pipeline.stop()
    finally:
        for process in pipeline.processes.values():
            process.kill()
            process.wait(60)
