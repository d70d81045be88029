"""What follows a rebuild: the pair rows that used the bars, the aggregator's windows, and live listeners."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from aggregator.barstore import BarLeaves
from aggregator.pairbook import compute_pair, touched_until_us
from aggregator.pairstage import ROWS_LOCK, PairKey
from common.codec import iso_us
from common.database import transaction
from common.events import Event, publish
from common.settings import Settings, pair_legs
from common.trades import to_us

#: A large import rebuilds more bars than anybody listens to: the newest are told one by one, the rest as a count.
TELL_AT_MOST = 2_000
FOLLOW_AT_MOST = 100_000
_REBUILT = "SELECT id, symbol, timeframe, timestamp, is_new FROM rebuilt_bars ORDER BY id LIMIT %s"
_BODIES = """
SELECT jsonb_build_object('symbol', b.symbol, 'timeframe', b.timeframe,
    'timestamp', to_char(b.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'open', b.open, 'high', b.high, 'low', b.low, 'close', b.close, 'volume', b.volume, 'tick_count', b.tick_count,
    'quote_volume', b.quote_volume, 'taker_buy_volume', b.taker_buy_volume, 'vwap', b.vwap, 'status', b.status,
    'revision', b.revision, 'closed', true), r.is_new
FROM (VALUES %s) AS r (symbol, timeframe, timestamp, is_new)
JOIN processed_bars b ON (b.symbol, b.timeframe, b.timestamp) = (r.symbol, r.timeframe, r.timestamp::timestamptz)
ORDER BY b.timestamp
"""
_RELOAD = "INSERT INTO pair_reloads (symbol, timeframe) VALUES %s ON CONFLICT DO NOTHING"


class Rebuilt(NamedTuple):
    """A bar that a rebuild made, changed or deleted; the row that says so goes once its followers have followed."""

    id: int
    symbol: str
    timeframe: str
    timestamp: datetime
    is_new: bool


def follow_up(settings: Settings, client: redis.Redis, connection: Connection, leaves: BarLeaves) -> None:
    """Recompute pair rows that used rebuilt bars, then tell live listeners; done again if it does not come to its end."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute(_REBUILT, (FOLLOW_AT_MOST,))
        bars = [Rebuilt(*row) for row in cursor.fetchall()]
    if not bars:
        return
    for key, symbols in _series(settings):
        changed = [to_us(bar.timestamp) for bar in bars if bar.symbol in symbols and bar.timeframe == key.timeframe]
        if changed:
            publish(client, _recompute(settings, connection, leaves, key, symbols, changed))
    publish(client, _bar_events(connection, bars))
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("DELETE FROM rebuilt_bars WHERE id = ANY(%s)", ([bar.id for bar in bars],))


def _recompute(
    settings: Settings, connection: Connection, leaves: BarLeaves, key: PairKey, symbols: tuple[str, str], changed: Sequence[int]
) -> list[Event]:
    """Answers an event that names the range whose rows are new or changed, if any are.

    Rows that the aggregator adds meanwhile stand on the old ones. So there are two passes: the first may be long and holds nobody
    up; during the second, of the few rows since, no rows are added; then the aggregator reads its windows again.
    """

    def pass_from(first_us: int) -> tuple[int | None, int]:
        with transaction(connection), connection.cursor() as cursor:
            until_us = touched_until_us(cursor, key, max(changed), settings.stale_leg_s * 1_000_000)
        if until_us is None:
            return None, 0
        return until_us, compute_pair(connection, leaves, settings, key, symbols, first_us, until_us).changed

    done_us, first_changes = pass_from(min(changed))
    with _pair_rows_held(connection):
        until_us, later_changes = pass_from(max(min(changed), done_us or 0))
        with transaction(connection), connection.cursor() as cursor:
            execute_values(cursor, _RELOAD, [(symbol, key.timeframe) for symbol in symbols])
    if until_us is None or not first_changes + later_changes:
        return []
    body = {"symbol_pair": key.pair, "timeframe": key.timeframe, "window": key.window}
    told = {"changed": first_changes + later_changes, "from": iso_us(min(changed)), "to": iso_us(until_us)}
    return [Event("spread.revised", {**body, **told})]


@contextmanager
def _pair_rows_held(connection: Connection) -> Iterator[None]:
    """No aggregator adds pair rows meanwhile; a session that is lost lets go by itself."""
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (ROWS_LOCK,))
    try:
        yield
    finally:
        if not connection.closed:
            with transaction(connection), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (ROWS_LOCK,))


def _series(settings: Settings) -> Iterable[tuple[PairKey, tuple[str, str]]]:
    for pair in settings.pairs:
        symbols = pair_legs(pair, settings.symbols)
        if symbols:
            yield from ((PairKey(pair, timeframe, settings.window), symbols) for timeframe in settings.timeframes)


def _bar_events(connection: Connection, bars: Sequence[Rebuilt]) -> list[Event]:
    newest = sorted(bars, key=lambda bar: bar.timestamp)[-TELL_AT_MOST:]
    with transaction(connection), connection.cursor() as cursor:
        keys = [(bar.symbol, bar.timeframe, bar.timestamp, bar.is_new) for bar in newest]
        rows = execute_values(cursor, _BODIES, keys, page_size=TELL_AT_MOST, fetch=True)
    return [Event("bar" if is_new else "bar.revised", body) for body, is_new in rows]
