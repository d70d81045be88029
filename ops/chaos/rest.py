"""When everything has come to rest: all read, stored, aggregated, rebuilt, fetched and closed."""

from contextlib import closing
from typing import Any

from common.streams import EntryId, stream_names, writers_position
from common.view import committed_view
from ops.chaos.made import newest_ids
from ops.chaos.world import World

_LEFT = """
SELECT (SELECT count(*) FROM dirty_ranges d WHERE due_us <= coalesce(
            (SELECT max(value::bigint) FROM checkpoints, jsonb_each_text(watermarks) WHERE key = d.symbol),
            (SELECT min(position_ms) * 1000 FROM checkpoints), 0)),
    (SELECT count(*) FROM tasks WHERE state IN ('queued', 'running')),
    (SELECT count(*) FROM gaps WHERE state = 'open' AND symbol = ANY(%s))
"""
_MISSING = "SELECT coalesce(sum(last_id - first_id + 1), 0)::bigint FROM gaps WHERE state = 'open' AND symbol = ANY(%s)"
_NEWEST = "SELECT max(trade_id) FROM raw_ticks WHERE symbol = %s"


def what_moves(world: World) -> list[str]:
    """What still has to happen, in words; empty: everything is at rest. Raises the errors of servers that are away."""
    moving = [f"{name} is {found['statename'].lower()}" for name, found in world.processes().items() if _is_ill(found)]
    with world.redis() as client, closing(world.database()) as connection, connection.cursor() as cursor:
        used = committed_view(cursor, world.settings).positions
        for stream in stream_names(world.settings):
            last = _last(client, stream)
            if last is not None and used.get(stream) != last:
                moving.append(f"the aggregator is at {used.get(stream)} of {last} in {stream}")
            if last is not None and writers_position(client, stream) != last:
                moving.append(f"the writers are at {writers_position(client, stream)} of {last} in {stream}")
        facts, kept = _said(client, "producer"), _said(client, "importer")
        cursor.execute(_LEFT, (list(world.settings.symbols),))
        row = cursor.fetchone()
        assert row, "a query of counts answers a row"
        moving += [f"{n} {what}" for n, what in zip(row, ("marks to rebuild", "open tasks", "open gaps"), strict=True) if n]
        for symbol, newest in newest_ids(world.settings).items():
            cursor.execute(_NEWEST, (symbol,))
            found = cursor.fetchone()
            if found and (found[0] or 0) < newest:
                moving.append(f"{symbol} is stored up to {found[0]}, made up to {newest}")
    if (kept.get("posted_waiting"), kept.get("uploads_waiting")) != ("0", "0"):
        moving.append(f"posted ticks or uploads wait to be seen stored: {kept or 'no word of the importer'}")
    if not facts or facts.get("owed") != "0" or facts.get("catching") or facts.get("spool_bytes") != "0":
        moving.append(f"the producer still owes trades: {facts or 'no word of it'}")
    return moving


def missing_ids(world: World) -> int:
    """How many ids of fed symbols are still to be fetched: the venue's request weight allows so many a minute."""
    return int(world.rows(_MISSING, list(world.settings.symbols))[0][0])


def _last(client: Any, stream: str) -> EntryId | None:
    return EntryId.parse(client.xinfo_stream(stream)["last-generated-id"]) if client.exists(stream) else None


def _said(client: Any, process: str) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in client.hgetall(f"health:{process}").items()}


def _is_ill(found: dict[str, Any]) -> bool:
    wanted = "EXITED" if found["name"] == "migrate" else "RUNNING"
    return bool(found["statename"] != wanted)
