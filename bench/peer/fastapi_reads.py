"""`fastapi_reads.py PORT DATABASE_URL`: the same reads by FastAPI, asyncpg and orjson, one uvicorn worker.

Prepared statements of a pool of ten, decimals as float8 from the server, so that nothing is done twice. Ticks are found as GEMS
finds them, by what bars say of the window: without it, each request would read the whole day.
"""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

BARS = """
SELECT symbol, timeframe, timestamp, open::float8, high::float8, low::float8, close::float8, volume::float8, tick_count,
    quote_volume::float8, vwap::float8, taker_buy_volume::float8, taker_buy_quote_volume::float8, status, revision
FROM processed_bars WHERE symbol = $1 AND timeframe = $2 ORDER BY timestamp DESC LIMIT $3
"""
WINDOW = """
SELECT min(timestamp) FROM (SELECT timestamp, sum(tick_count) OVER (ORDER BY timestamp DESC) - tick_count AS newer
FROM (SELECT timestamp, tick_count FROM processed_bars WHERE symbol = $1 AND timeframe = '1s'
    ORDER BY timestamp DESC LIMIT $2) AS bars) AS counted WHERE newer < $2
"""
TICKS = """
SELECT symbol, timestamp, price::float8, size::float8, side, trade_id, seq FROM raw_ticks
WHERE symbol = $1 AND timestamp >= $2 ORDER BY timestamp DESC, coalesce(seq, 0) DESC, trade_id DESC LIMIT $3
"""
STATS = """
SELECT (SELECT coalesce(sum(stored), 0)::bigint FROM writer_positions) AS tick_count,
    (SELECT coalesce(sum(bars), 0)::bigint FROM checkpoints) AS bar_count,
    (SELECT coalesce(array_agg(symbol ORDER BY symbol), '{}') FROM sources) AS symbols
"""
#: As GEMS asks, for the same plans.
SESSION = {"timezone": "UTC", "seq_page_cost": "0.1", "random_page_cost": "0.1"}


def make_app(database_url: str) -> Any:
    """The three routes."""
    import asyncpg
    import orjson
    from fastapi import FastAPI, Query, Response

    pools: list[Any] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=10, max_size=10, server_settings=SESSION) as pool:
            pools.append(pool)
            print("ready", flush=True)
            yield

    app = FastAPI(lifespan=lifespan)
    limits = Annotated[int, Query(ge=1, le=10_000)]

    def answer(told: dict[str, Any]) -> Response:
        return Response(orjson.dumps(told, option=orjson.OPT_UTC_Z), media_type="application/json")

    def page(name: str, rows: list[Any], limit: int) -> Response:
        shown, complete = [dict(row) for row in rows[:limit]], len(rows) <= limit
        cursor = None if complete else f"{name}.{int(shown[-1]['timestamp'].timestamp() * 1_000_000)}"
        return answer({name: shown, "count": len(shown), "complete": complete, "next_cursor": cursor})

    @app.get("/api/ingestion/bars/")
    async def bars(symbol: str, timeframe: str = "1s", limit: limits = 100) -> Response:
        return page("bars", await pools[0].fetch(BARS, symbol, timeframe, limit + 1), limit)

    @app.get("/api/ingestion/ticks/")
    async def ticks(symbol: str, limit: limits = 100) -> Response:
        async with pools[0].acquire() as connection:
            since = await connection.fetchval(WINDOW, symbol, limit + 1)
            return page("ticks", await connection.fetch(TICKS, symbol, since, limit + 1), limit)

    @app.get("/api/ingestion/stats/")
    async def stats() -> Response:
        return answer(dict(await pools[0].fetchrow(STATS)))

    return app


def main(port: str, database_url: str) -> None:
    """Serve until it is killed; "ready" is said once requests are answered."""
    import uvicorn

    listening = socket.create_server(("127.0.0.1", int(port)), backlog=256)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms for an ACK
    config = uvicorn.Config(make_app(database_url), log_level="warning", access_log=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
    print(json.dumps({}))


if __name__ == "__main__":
    main(*sys.argv[1:])
