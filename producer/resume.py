"""Which symbols are fed, and where their trades end that are already in: the table's last id, or a later one in the stream."""

from collections.abc import Sequence
from typing import Any

import redis
from psycopg2.extensions import connection as Connection

from common.database import transaction
from common.errors import ConfigError, SourceConflict
from common.lifecycle import Stop, backoff_s
from common.log import get_logger
from common.settings import Settings
from common.sources import register_source
from common.streams import TRANSIENT, shard_of, stream_names
from producer.flow import Flow
from producer.venues.binance import source_name

TAIL_ENTRIES = 5_000
CHUNK_ENTRIES = 100

log = get_logger(__name__)


def registered_flows(connection: Connection, settings: Settings) -> list[Flow]:
    """A flow of each symbol whose source is, or now becomes, the feed's.

    Raises:
        ConfigError: none is left.
    """
    src, streams, flows, refused = source_name(settings.feed_kind), stream_names(settings), [], []
    for symbol in settings.symbols:
        try:
            register_source(connection, symbol, src)
            flows.append(Flow(symbol, src, streams[shard_of(symbol, settings.shards)]))
        except SourceConflict as exc:
            log.error("%s is left out: %s", symbol, exc)
            refused.append(str(exc))
    if not flows:
        raise ConfigError("GEMS_SYMBOLS: none can be fed: " + "; ".join(refused))
    return flows


def resumed(client: redis.Redis, connection: Connection, flows: Sequence[Flow], stop: Stop) -> bool:
    """Set each flow behind what is already in."""
    for delay_s in backoff_s():
        try:
            stored = last_stored_ids(connection, [flow.symbol for flow in flows])
            streamed = last_streamed_ids(client, flows)
            break
        except TRANSIENT as exc:
            log.warning("waiting for Redis: %s; next try in %.1f s", exc, delay_s)
            if stop.wait(delay_s):
                return False
    for flow in flows:
        known = [ids[flow.symbol] for ids in (stored, streamed) if flow.symbol in ids]
        flow.last_id = max(known, default=None)
        flow.begin()
        log.info("%s: %s", flow.symbol, "no trades yet" if flow.last_id is None else f"resuming behind id {flow.last_id}")
    return True


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
