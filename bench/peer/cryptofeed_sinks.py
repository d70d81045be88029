"""`cryptofeed_sinks.py REDIS_URL POSTGRES_JSON MESSAGES.ndjson`: Binance trades through cryptofeed's own backends.

Messages are read as its exchanges/binance.py does, and handed to the callbacks `TradeStream` and `TradePostgres`, a burst at a
time, so that the writer behind the callback has a batch to write.
"""

import asyncio
import json
import sys
import time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptofeed.backends.postgres import TradePostgres
from cryptofeed.backends.redis import TradeStream
from cryptofeed.defines import BUY, SELL
from cryptofeed.types import Trade
from yapic import json as yapic

BURST = 500
_TABLE = """
CREATE TABLE IF NOT EXISTS trades (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, feed varchar(32),
    symbol varchar(32), side varchar(8), amount numeric(64, 32), price numeric(64, 32),
    trade_id varchar(64), order_type varchar(32))
"""


def trade_of(text: str) -> Any:
    """What its Binance handler makes of a message."""
    told = yapic.loads(text, parse_float=Decimal)["data"]
    side, stamp_s = SELL if told["m"] else BUY, told["T"] / 1000
    return Trade("BINANCE", told["s"], side, Decimal(told["q"]), Decimal(told["p"]), stamp_s, id=str(told["a"]), raw=told)


async def measure(sink: Any, texts: list[str]) -> dict[str, Any]:
    """CPU microseconds a message of this process, and messages a second."""
    sink.start(asyncio.get_running_loop())
    began_s, cpu_s = time.monotonic(), time.process_time()
    for at in range(0, len(texts), BURST):
        for text in texts[at : at + BURST]:
            await sink(trade_of(text), time.time())
        await asyncio.sleep(0)
        await sink.queue.join()
    took_s, used_s = time.monotonic() - began_s, time.process_time() - cpu_s
    await sink.stop()
    return {"trades": len(texts), "client_us": round(used_s / len(texts) * 1e6, 2), "per_s": round(len(texts) / took_s)}


async def made_table(postgres: dict[str, Any]) -> None:
    """As in its examples/postgres_tables.sql."""
    import asyncpg

    connection = await asyncpg.connect(**postgres)
    await connection.execute(_TABLE)
    await connection.close()


async def both(which: str, redis_url: str, postgres: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """The sink that is asked for, and the cost of reading the messages alone."""
    if which == "redis":
        sink: Any = TradeStream()
        sink.redis = redis_url
    else:
        await made_table(postgres)
        names = {"user": postgres["user"], "pw": postgres["password"], "db": postgres["database"]}
        sink = TradePostgres(host=postgres["host"], port=postgres["port"], **names)
    cpu_s = time.process_time()
    for text in texts:
        trade_of(text)
    parse_us = round((time.process_time() - cpu_s) / len(texts) * 1e6, 2)
    print("ready", flush=True)
    sys.stdin.readline()
    return {"version": version("cryptofeed"), "parse_us": parse_us, **await measure(sink, texts)}


if __name__ == "__main__":
    _which, _redis_url, _postgres, _messages = sys.argv[1:]
    _texts = Path(_messages).read_text().splitlines()
    print(json.dumps(asyncio.run(both(_which, _redis_url, json.loads(_postgres), _texts))))
