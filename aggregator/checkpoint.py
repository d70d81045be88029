"""Where the aggregator is, and what it holds: a row in the transaction of the bars that it made.

`token` fences: each owner raises it when it takes over, and a save under an older one is refused.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np
import orjson
from psycopg2.extensions import cursor as Cursor

from aggregator.bars import COLUMN_NAMES, Bars
from aggregator.core import Core
from aggregator.symbols import Symbols
from common.errors import Fenced
from common.events import Event
from common.log import get_logger
from common.streams import START, EntryId

log = get_logger(__name__)

#: Raise it with every change of what `to_json` gives.
FORMAT = 5
#: What `restore` can read.
READABLE = (4, FORMAT)
_TAKE = """
INSERT INTO checkpoints AS c (shard, token, position_ms, position_seq, run_id, watermarks, state, events)
VALUES (%s, 1, 0, 0, '', '{}', '', '')
ON CONFLICT (shard) DO UPDATE SET token = c.token + 1
RETURNING token, position_ms, position_seq, run_id, state, events
"""
_SAVE = """
UPDATE checkpoints SET position_ms = %s, position_seq = %s, run_id = %s, watermarks = %s, state = %s, events = %s,
    bars = bars + %s, late = late + %s, updated_at = now()
WHERE shard = %s AND token = %s
"""


class Checkpoint(NamedTuple):
    """What the last owner left; `state` None where nobody ever saved, or saved in a format that is not `READABLE`."""

    token: int
    position: EntryId
    run_id: str
    state: dict[str, Any] | None
    events: list[Event]


def take_over(cursor: Cursor, shard: int) -> Checkpoint:
    """Become the owner of a shard: from now on, saves of earlier owners are refused."""
    cursor.execute(_TAKE, (shard,))
    row = cursor.fetchone()
    assert row, "an upsert answers a row"
    token, ms, seq, run_id, state, events = row
    loaded = orjson.loads(zlib.decompress(state)) if len(state) else None
    if loaded and loaded.get("format") not in READABLE:
        log.warning("the checkpoint is of another version of this program: bars are rebuilt instead")
        loaded = None
    told = [Event(*event) for event in orjson.loads(zlib.decompress(events))] if len(events) else []
    return Checkpoint(token, EntryId(int(ms), int(seq)) if loaded else START, run_id, loaded, told)


def save(
    cursor: Cursor, shard: int, token: int, position: EntryId, run_id: str, core: Core, events: list[Event], bars: int, late: int
) -> None:
    """Save position, state and events; `bars` and `late` are added to the counters.

    Raises:
        Fenced: another owner has taken over.
    """
    state = zlib.compress(orjson.dumps(to_json(core)), 1)
    told = zlib.compress(b"[%s]" % b",".join([b'["%s",%s]' % (event.event.encode(), event.json) for event in events]), 1)
    watermarks = orjson.dumps(core.watermarks()).decode()
    cursor.execute(_SAVE, (position.ms, position.seq, run_id, watermarks, state, told, bars, late, shard, token))
    if cursor.rowcount != 1:
        raise Fenced(f"shard {shard} has another owner now")


def to_json(core: Core) -> dict[str, Any]:
    """The core's state; whole numbers beyond 64 bits become text."""
    tables = {timeframe: [_column(values) for values in bars.columns()] for timeframe, bars in core.open.items()}
    doubts = {"doubting": core.doubting, "doubted_since_us": core.doubted_since_us, "has_doubted": core.has_doubted}
    return {"format": FORMAT, "symbols": core.symbols.to_json(), "open": tables, **doubts}


def restore(core: Core, state: dict[str, Any]) -> list[str]:
    """Give a new core the state of an old one; answers the timeframes that were not built before: empty, and unproved."""
    core.symbols = Symbols.from_json(state["symbols"])
    core.doubting, core.doubted_since_us, core.has_doubted = state["doubting"], state["doubted_since_us"], state["has_doubted"]
    for timeframe in core.open:
        if timeframe in state["open"]:
            core.open[timeframe] = Bars(*[_array(column) for column in state["open"][timeframe]])
    added = [timeframe for timeframe in core.open if timeframe not in state["open"]]
    if added:
        core.close_by_rebuild()
    return added


def _column(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    if values.dtype == object:
        return {"wide": [str(value) for value in values]}
    return {"values": values.tolist()}


def _array(column: dict[str, Any]) -> np.ndarray[Any, Any]:
    if "wide" in column:
        return np.array([int(text) for text in column["wide"]], dtype=object)
    return np.array(column["values"], dtype=np.int64)


assert len(COLUMN_NAMES) == 17, "the checkpoint's tables are lists of columns by position"
