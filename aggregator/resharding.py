"""Another number of shards: what the aggregators hold of each symbol goes to its new shard, before anyone starts from it.

The old streams are drained by then (`common.layout`), so the states are all of one moment.
"""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from aggregator import checkpoint
from aggregator.bars import concatenate
from aggregator.core import Core
from common.database import transaction
from common.log import get_logger
from common.streams import shard_of

_ROWS = "SELECT shard, run_id, state, events, position_ms, position_seq FROM checkpoints ORDER BY shard"
_WRITE = """
INSERT INTO checkpoints AS c (shard, token, position_ms, position_seq, run_id, watermarks, state, events)
VALUES (%s, 1, %s, %s, %s, %s, %s, %s)
ON CONFLICT (shard) DO UPDATE SET token = c.token + 1, position_ms = excluded.position_ms, position_seq = excluded.position_seq,
    run_id = excluded.run_id, watermarks = excluded.watermarks, state = excluded.state, events = excluded.events
"""

log = get_logger(__name__)


class _Row(NamedTuple):
    shard: int
    run_id: str
    state: dict[str, Any]
    events: list[Any]
    position: tuple[int, int]


def redistribute(connection: Connection, shards: int) -> bool:
    """Give every symbol's state to its shard, and drop shards that are no more; False if all is where it belongs."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE checkpoints IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(_ROWS)
        found = [_row(*row) for row in cursor.fetchall() if len(row[2])]
        rows = [row for row in found if row.state["format"] in checkpoint.READABLE]
        misplaced = {name for row in rows for name in row.state["symbols"]["names"] if shard_of(name, shards) != row.shard}
        if not misplaced and all(row.shard < shards for row in rows):
            return False
        log.warning("another number of shards: %d symbols move to their new one", len(misplaced))
        _write(cursor, rows, shards)
    return True


def _row(shard: int, run_id: str, state: Any, events: Any, ms: int, seq: Any) -> _Row:
    loaded = orjson.loads(zlib.decompress(state))
    return _Row(shard, run_id, loaded, orjson.loads(zlib.decompress(events)) if len(events) else [], (ms, int(seq)))


def _write(cursor: Cursor, rows: Sequence[_Row], shards: int) -> None:
    """A stream of the same name keeps its position; the others begin."""
    same_names = shards > 1 and len(rows) > 1
    positions = {row.shard: row.position for row in rows if same_names}
    events = [event for row in rows for event in row.events]
    for shard in range(shards):
        core = _core_of(rows, shard, shards)
        texts = [zlib.compress(orjson.dumps(each), 1) for each in (checkpoint.to_json(core), events if shard == 0 else [])]
        cursor.execute(_WRITE, (shard, *positions.get(shard, (0, 0)), rows[0].run_id, Json(core.watermarks()), *texts))
    cursor.execute("DELETE FROM checkpoints WHERE shard >= %s", (shards,))


def _core_of(rows: Sequence[_Row], shard: int, shards: int) -> Core:
    """A timeframe that one of the old states lacks is left out: it is made anew from the ticks."""
    timeframes = [name for name in rows[0].state["open"] if all(name in row.state["open"] for row in rows)]
    core = Core(timeframes, 0)
    for row in rows:
        old = Core(timeframes, 0)
        checkpoint.restore(old, row.state)
        core.doubting, core.has_doubted = core.doubting or old.doubting, core.has_doubted or old.has_doubted
        since_us = [each.doubted_since_us for each in (core, old) if each.doubted_since_us is not None]
        core.doubted_since_us = min(since_us, default=None)
        for code, name in enumerate(old.symbols.names):
            if shard_of(name, shards) == shard and name not in core.symbols.codes:
                _move(old, code, core)
    return core


def _move(old: Core, code: int, core: Core) -> None:
    new = core.symbols.take_over(old.symbols, code)
    for timeframe, bars in old.open.items():
        part = bars.take(bars.symbol == code)
        part.symbol[:] = new
        core.open[timeframe] = concatenate(core.open[timeframe], part)
