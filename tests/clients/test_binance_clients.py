"""An existing Binance client reads GEMS with another address, and gets what our own routes give."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from psycopg2.extensions import connection as Connection

from common.trades import to_us
from tests.web.rows import AT, add_ticks, second
from tests.web.test_binance import add_candles

READING = Path(__file__).with_name("reading.py")
TICKS = 40


@pytest.fixture
def stored(database: Connection, address: str) -> str:
    """Forty ticks, a second apart, their 1s bars, and the 1m bar; answers the address."""
    add_ticks(database, "BTCUSDT", [(n, second(n), f"4300{n % 10}.5", "0.5", "s" if n % 2 else "b", None) for n in range(TICKS)])
    seconds = {second(n): (f"4300{n % 10}.5",) * 4 + ("0.5", 1) for n in range(TICKS)}
    add_candles(database, "1s", seconds)  # type: ignore[arg-type]
    minute = ("43000.5", "43009.5", "43000.5", "43009.5", "20", 40)
    add_candles(database, "1m", {AT - timedelta(minutes=n): minute for n in range(5)})
    return address


def read_by(python: Path, client: str, address: str) -> Any:
    done = subprocess.run([python, READING, address, client], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def our(address: str, path: str) -> Any:
    return urllib3.request("GET", f"{address}/api/ingestion/{path}", timeout=60).json()


def test_python_binance_reads_what_our_routes_give(clients_python: Path, stored: str) -> None:
    read = read_by(clients_python, "python-binance", stored)
    bars = our(stored, "bars/?symbol=BTCUSDT&timeframe=1m&order=asc")["bars"]
    assert [[float(text) for text in row[1:6]] for row in read["klines"]] == [
        [bar[name] for name in ("open", "high", "low", "close", "volume")] for bar in bars
    ]
    assert [row[0] for row in read["history"]] == [to_us(second(n)) // 1000 for n in range(TICKS)]
    ticks = our(stored, "ticks/?symbol=BTCUSDT&order=asc")["ticks"]
    assert [(row["id"], float(row["price"]), float(row["qty"]), row["isBuyerMaker"]) for row in read["trades"]] == [
        (tick["trade_id"], tick["price"], tick["size"], tick["side"] == "s") for tick in ticks
    ]
    assert [row["id"] for row in read["by_id"]] == [1, 2, 3]
    assert read["aggregates"] == list(range(3, TICKS))
    assert read["price"] == {"symbol": "BTCUSDT", "price": f"{ticks[-1]['price']:.8f}"}
    assert (read["day"]["count"], read["symbol"], read["ping"]) == (200, "BTC", {})


def test_ccxt_reads_what_our_routes_give(clients_python: Path, stored: str) -> None:
    read = read_by(clients_python, "ccxt", stored)
    bars = our(stored, "bars/?symbol=BTCUSDT&timeframe=1m&order=asc")["bars"]
    assert read["markets"] == ["BTC/USDT"]
    assert [row[1:] for row in read["candles"]] == [
        [bar[name] for name in ("open", "high", "low", "close", "volume")] for bar in bars
    ]
    ticks = our(stored, "ticks/?symbol=BTCUSDT&order=asc")["ticks"]
    assert [(row["id"], row["price"], row["amount"], row["side"]) for row in read["trades"]] == [
        (str(tick["trade_id"]), tick["price"], tick["size"], "sell" if tick["side"] == "s" else "buy") for tick in ticks
    ]
    assert read["ticker"]["last"] == ticks[-1]["price"]
