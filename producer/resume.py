"""Where a symbol's trades end that are already in: the table's last id, or a later one in the stream."""

from collections.abc import Sequence
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.database import transaction
from producer.flow import Flow

TAIL_ENTRIES = 5_000
CHUNK_ENTRIES = 100


def last_stored_ids(connection: Connection, symbols: Sequence[str]) -> dict[str, int]:
    """The largest exchange id in `raw_ticks` of each symbol that has one."""
    found: dict[str, int] = {}
    with transaction(connection), connection.cursor() as cursor:
        for symbol in symbols:
            cursor.execute("SELECT max(trade_id) FROM raw_ticks WHERE symbol = %s AND trade_id >= 0", (symbol,))
            row = cursor.fetchone()
            if row and row[0] is not None:
                found[symbol] = int(row[0])
    return found


def last_streamed_ids(client: redis.Redis, flows: Sequence[Flow]) -> dict[str, int]:
    """The newest exchange id of each flow in its stream's last `TAIL_ENTRIES` entries.

    Not found there: the table has it, for entries are trimmed only once they are stored; fetching a trade twice is harmless.
    """
    found: dict[str, int] = {}
    for stream in sorted({flow.stream for flow in flows}):
        wanted = {flow.symbol: flow for flow in flows if flow.stream == stream}
        newest = b"+"
        for _ in range(TAIL_ENTRIES // CHUNK_ENTRIES):
            entries: Any = client.xrevrange(stream, max=newest, count=CHUNK_ENTRIES)
            for _, fields in entries:
                _search(fields, wanted, found)
            if not wanted or len(entries) < CHUNK_ENTRIES:
                break
            newest = b"(" + entries[-1][0]
    return found


def _search(fields: dict[bytes, bytes], wanted: dict[str, Flow], found: dict[str, int]) -> None:
    """Take note of the last row of each wanted symbol in an entry of its source."""
    for symbol in [name for name, flow in wanted.items() if fields.get(b"src") == flow.src.encode()]:
        trade_id = _last_id(fields.get(b"rows", b""), symbol.encode() + b",")
        if trade_id is not None:
            found[symbol] = trade_id
            del wanted[symbol]


def _last_id(rows: bytes, prefix: bytes) -> int | None:
    at = rows.rfind(b"\n" + prefix) + 1
    if at == 0 and not rows.startswith(prefix):
        return None
    text = rows[at + len(prefix) :].split(b",", 1)[0]
    return int(text) if text.isdigit() else None
