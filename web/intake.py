"""Posted trades -> stream entries, and a task row that says they are in. Answered once Redis and the disk have them."""

import hashlib
from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import connection as Connection

from common.codec import encode_rows
from common.database import transaction
from common.journal import Post, append_posts
from common.sources import CONTENT, register_source, source_of
from common.streams import shard_of, stream_names
from common.tasks import create_task
from common.trades import Trade
from web.errors import Conflict
from web.posted import DEFAULT_SOURCE, Posted
from web.stores import Stores


def now_ms(stores: Stores) -> int:
    """Redis' clock, which also stamps the entries: readers judge by that stamp."""
    seconds, us = stores.redis.time()
    return int(seconds) * 1000 + int(us) // 1000


def take_in(stores: Stores, posted: Posted, body: bytes, key: str | None) -> str:
    """Append the trades and answer the task's id; with a key that was used for the same body, the earlier task's.

    Raises:
        SourceConflict: a symbol has ids of another kind; nothing was appended.
        Conflict: the key was used for another body.
        StoreUnavailable: the streams of another GEMS_SHARDS are not drained, or the disk takes nothing.
    """
    digest = hashlib.sha256(body).hexdigest()
    with stores.session() as connection:
        stores.keep_layout(connection)
        by_source = _register(connection, posted)
        if key is None:
            _append(stores, by_source)
            return _remember(connection, posted, digest, None)
        earlier = _hold_key(connection, key, digest)
        if earlier:
            return earlier
        _append(stores, by_source)
        return _remember(connection, posted, digest, key)


def _register(connection: Connection, posted: Posted) -> dict[str, list[Trade]]:
    """The trades by source, each symbol bound to its source first."""
    by_source: dict[str, list[Trade]] = {}
    for symbol in sorted({trade.symbol for trade in posted.anonymous}):
        register_source(connection, symbol, CONTENT)
    if posted.anonymous:
        by_source[CONTENT] = posted.anonymous
    source_by_symbol: dict[str, str] = {}
    for symbol in sorted({trade.symbol for trade in posted.identified}):
        known = source_of(connection, symbol)
        source = posted.source or (known if known and known != CONTENT else DEFAULT_SOURCE)
        register_source(connection, symbol, source)
        source_by_symbol[symbol] = source
    for trade in posted.identified:
        by_source.setdefault(source_by_symbol[trade.symbol], []).append(trade)
    return by_source


def _hold_key(connection: Connection, key: str, digest: str) -> str | None:
    """Keep others with the same key waiting until our commit; the earlier task's id, if there is one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (_stored(key),))
        cursor.execute("SELECT task_id, params->>'sha256' FROM tasks WHERE idempotency_key = %s", (_stored(key),))
        earlier = cursor.fetchone()
    if earlier and earlier[1] != digest:
        raise Conflict("this Idempotency-Key was used for another body", "Idempotency-Key")
    return str(earlier[0]) if earlier else None


def _append(stores: Stores, by_source: dict[str, list[Trade]]) -> None:
    """All entries of a stream in one MULTI: Redis takes all of them or none. Then the journal: whatever becomes of Redis from
    here on, the importer sends again what PostgreSQL does not get."""
    settings = stores.settings
    names = stream_names(settings)
    entries: dict[str, list[tuple[str, Sequence[Trade]]]] = {}
    for source, trades in by_source.items():
        by_stream: dict[str, list[Trade]] = {}
        for trade in trades:
            by_stream.setdefault(names[shard_of(trade.symbol, settings.shards)], []).append(trade)
        for stream, own in by_stream.items():
            batches = (own[at : at + settings.batch_rows] for at in range(0, len(own), settings.batch_rows))
            entries.setdefault(stream, []).extend((source, batch) for batch in batches)
    posts = [
        Post(stream, "", source, len(batch), encode_rows(batch))
        for stream, batches_of_stream in entries.items() for source, batch in batches_of_stream
    ]  # fmt: skip
    stores.journal.append(append_posts(stores.redis, posts))


def _remember(connection: Connection, posted: Posted, digest: str, key: str | None) -> str:
    """The finished task. The row comes after the entries: a crash between them makes a retry append again,
    which identity makes harmless; the other way round it would lose them."""
    count = len(posted.identified) + len(posted.anonymous)
    params: dict[str, Any] = {"sha256": digest}
    with transaction(connection):
        return create_task(connection, "ingest", params, {"ticks": count}, done=True, idempotency_key=_stored(key))


def _stored(key: Any) -> Any:
    """Keys of one route never meet those of another."""
    return key and f"ingest:{key}"
