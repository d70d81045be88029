"""What follows a rebuild: the pair rows that used the bars, the aggregator's windows, and live listeners."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import redis
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from aggregator.barstore import BarLeaves
from aggregator.pairbook import Written, compute_series, touched_until_us
from aggregator.pairstage import ROWS_LOCK
from aggregator.statbook import follow_rebuilt
from common.codec import iso_us
from common.database import transaction
from common.events import Event, publish
from common.pairseries import Series, series_of_legs
from common.settings import Settings
from common.trades import to_us

#: A large import rebuilds more bars than anybody listens to: the newest are told one by one, the rest as a count.
TELL_AT_MOST = 2_000
FOLLOW_AT_MOST = 100_000
_REBUILT = "SELECT id, symbol, timeframe, timestamp, is_new FROM rebuilt_bars ORDER BY id LIMIT %s"
_BODIES = """
SELECT jsonb_build_object('symbol', b.symbol, 'timeframe', b.timeframe,
    'timestamp', to_char(b.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'open', b.open, 'high', b.high, 'low', b.low, 'close', b.close, 'volume', b.volume, 'tick_count', b.tick_count,
    'quote_volume', b.quote_volume, 'taker_buy_volume', b.taker_buy_volume,
    'taker_buy_quote_volume', b.taker_buy_quote_volume, 'vwap', b.vwap, 'status', b.status,
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
    with transaction(connection), connection.cursor() as cursor:
        known = series_of_legs(cursor, {bar.symbol for bar in bars})
    for series, is_live in known:
        of_series = [bar for bar in bars if bar.symbol in series.symbols and bar.timeframe == series.key.timeframe]
        if of_series:
            changed = [to_us(bar.timestamp) for bar in of_series]
            publish(client, _recompute(settings, connection, leaves, series, changed, is_live))
    follow_rebuilt(settings, connection, leaves, [bar[1:4] for bar in bars], _pair_rows_held)
    publish(client, _bar_events(connection, bars))
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("DELETE FROM rebuilt_bars WHERE id = ANY(%s)", ([bar.id for bar in bars],))


def _recompute(
    settings: Settings, connection: Connection, leaves: BarLeaves, series: Series, changed: Sequence[int], is_live: bool
) -> list[Event]:
    """Answers an event that names the range whose rows are new or changed, if any are.

    Rows that the aggregator adds meanwhile stand on the old ones. So there are two passes: the first may be long and holds nobody
    up; during the second, of the few rows since, no rows are added; then the aggregator reads its windows again. A series that is
    not live gets no rows that it had not.
    """
    key = series.key

    def pass_from(first_us: int) -> tuple[int | None, Written]:
        with transaction(connection), connection.cursor() as cursor:
            until_us = touched_until_us(cursor, key, first_us, max(changed), settings.stale_leg_s * 1_000_000)
        if until_us is None:
            return None, Written()
        return until_us, compute_series(
            connection, leaves, settings, series, first_us, until_us, only_stored=not is_live, note=is_live
        )

    done_us, first = pass_from(min(changed))
    if not is_live:
        return [revised_event(series, first)] if first.changed else []
    with _pair_rows_held(connection):
        _, later = pass_from(max(min(changed), done_us or 0))
        with transaction(connection), connection.cursor() as cursor:
            execute_values(cursor, _RELOAD, [(symbol, key.timeframe) for symbol in series.symbols])
    both = Written(0, first.changed + later.changed, first.first_us or later.first_us, later.last_us or first.last_us)
    return [revised_event(series, both)] if both.changed else []


def revised_event(series: Series, written: Written) -> Event:
    """That rows of a series are new or changed: listeners read the range again."""
    key = series.key
    body = {"symbol_pair": key.pair, "timeframe": key.timeframe, "window": key.window, "method": key.method}
    first_us, last_us = written.first_us or 0, written.last_us or 0
    return Event("spread.revised", {**body, "changed": written.changed, "from": iso_us(first_us), "to": iso_us(last_us)})


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


def _bar_events(connection: Connection, bars: Sequence[Rebuilt]) -> list[Event]:
    newest = sorted(bars, key=lambda bar: bar.timestamp)[-TELL_AT_MOST:]
    with transaction(connection), connection.cursor() as cursor:
        keys = [(bar.symbol, bar.timeframe, bar.timestamp, bar.is_new) for bar in newest]
        rows = execute_values(cursor, _BODIES, keys, page_size=TELL_AT_MOST, fetch=True)
    return [Event("bar" if is_new else "bar.revised", body) for body, is_new in rows]
