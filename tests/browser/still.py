"""A house that stands still: PostgreSQL, Redis, the web and the process of the tasks over bars that were put there. Nothing
trades, so what is drawn can be compared to the last digit; a test that wants news publishes them."""

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from common.database import connect_database
from common.pairseries import seed
from common.partitions import ensure_month_leaves
from common.settings import Settings
from ops.servers.instance import free_port
from tests.processes.house import wait_until
from tests.servers import FreshDatabases, private_servers

ROOT = Path(__file__).parents[2]
BARS = 1300  # more than a page of the API: what is older is loaded when the view scrolls back
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
GAP_AT, PARTIAL_AT, REVISED_AT = BARS - 40, BARS - 60, BARS - 80
#: Bars that the third symbol does not have: nobody traded.
QUIET = {*range(BARS - 100, BARS - 88), *range(5, BARS - 30, 13)}
_BAR = (
    "symbol, timeframe, timestamp, open, high, low, close, volume, tick_count, quote_volume, vwap, taker_buy_volume,"
    " first_trade_id, last_trade_id, status, revision"
)


class StillHouse(NamedTuple):
    """Where it answers, and its settings."""

    url: str
    settings: Settings


@contextmanager
def a_still_house(**environ: str) -> Iterator[StillHouse]:
    """The house; `environ` has more of `GEMS_*`."""
    with ExitStack() as stack:
        servers = stack.enter_context(private_servers())
        databases = FreshDatabases(servers)
        stack.callback(databases.close)
        url = stack.enter_context(databases.one())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gems-test-"))
        given = {
            "GEMS_SYMBOLS": ",".join(SYMBOLS), "GEMS_PAIRS": "BTCUSDT_ETHUSDT,BTCUSDT_SOLUSDT", "GEMS_WINDOW": "60",
            "GEMS_PORT": str(free_port()), **environ,
        }  # fmt: skip
        settings = Settings.from_env(given, database_url=url, redis_url=servers.redis_url(), data_dir=Path(folder))
        database = stack.enter_context(closing(connect_database(settings, "still")))
        add_walks(database, settings)
        web = ["gunicorn", "--config", "web/gunicorn.conf.py", "--no-control-socket", "web.wsgi:app"]
        running = [stack.enter_context(_running(command, settings, Path(folder))) for command in (web, ["aggregator.tasks"])]
        house = StillHouse(f"http://127.0.0.1:{settings.port}", settings)
        wait_until(lambda: _alive(running) and _answers(house.url), 60, "answer of the web")
        wait_until(lambda: _alive(running) and _rests(database), 150, "rows of the pairs and their tests")
        yield house


class _Process(NamedTuple):
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def _running(command: Sequence[str], settings: Settings, folder: Path) -> Iterator[_Process]:
    log = folder / f"{command[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **settings.to_env()}, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        yield _Process(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _alive(running: Sequence[_Process]) -> bool:
    """True, or the test fails with what a process said last: a house that fell is not waited for."""
    for process, log in running:
        assert process.poll() is None, f"{log.stem} ended with {process.returncode}:\n{log.read_text()[-2000:]}"
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _rests(database: Connection) -> bool:
    """True once the rows of the pairs are there, and every test that they asked for is made."""
    with database, database.cursor() as cursor:
        cursor.execute(
            "SELECT NOT EXISTS (SELECT FROM tasks WHERE state <> 'done')"
            " AND NOT EXISTS (SELECT FROM pair_tests WHERE tested_at IS NULL)"
        )
        return cursor.fetchone() == (True,)


def add_walks(database: Connection, settings: Settings) -> None:
    """Bars of three symbols that follow one random walk (the third loosely), and the pairs of the settings over them."""
    end = datetime.now(UTC).replace(microsecond=0)
    starts = [end - timedelta(seconds=BARS - number) for number in range(BARS)]
    ensure_month_leaves(database, {start.date() for start in (*starts, end + timedelta(days=1))})
    lines = [line for symbol, closes in zip(SYMBOLS, _closes(Random(7)), strict=True) for line in _bars(symbol, starts, closes)]
    with database, database.cursor() as cursor:
        cursor.executemany("INSERT INTO sources (symbol, src) VALUES (%s, 'binance.trade')", [(symbol,) for symbol in SYMBOLS])
        execute_values(cursor, f"INSERT INTO processed_bars ({_BAR}) VALUES %s", lines)  # noqa: S608 - names of this file
        watermarks = dict.fromkeys(SYMBOLS, int(end.timestamp() * 1_000_000))
        cursor.execute(
            "INSERT INTO checkpoints (shard, token, position_ms, position_seq, run_id, watermarks, state, events)"
            " VALUES (0, 0, 0, 0, '', %s, '', '')",
            (Json(watermarks),),
        )
        seed(cursor, settings)


def _closes(random: Random) -> list[list[float]]:
    common, apart, loose = 0.0, 0.0, 0.0
    found: list[list[float]] = [[], [], []]
    for _ in range(BARS):
        common += random.gauss(0, 1)
        apart = 0.9 * apart + random.gauss(0, 1)
        loose += random.gauss(0, 0.6)
        values = (43000 + 9 * common + 6 * apart, 2200 + 0.5 * common, 98 + 0.02 * (common + loose))
        for closes, value in zip(found, values, strict=True):
            closes.append(round(value, 2))
    return found


def _bars(symbol: str, starts: Sequence[datetime], closes: Sequence[float]) -> Iterator[tuple[object, ...]]:
    before = closes[0]
    for number, (start, close) in enumerate(zip(starts, closes, strict=True)):
        if symbol == SYMBOLS[2] and number in QUIET:
            continue
        status = {GAP_AT: "gap", PARTIAL_AT: "partial"}.get(number, "complete")
        high, low = max(before, close) * 1.0001, min(before, close) * 0.9999
        yield (
            symbol, "1s", start, before, round(high, 2), round(low, 2), close, 1 + number % 9, 5 + number % 7, close, close, 1,
            number, number, status, int(number == REVISED_AT),
        )  # fmt: skip
        before = close
