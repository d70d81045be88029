"""What verify found, mended as far as it can be: marks for the rebuild, gaps for the backfill, tasks for the rest."""

import time
from collections.abc import Callable

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from common.database import transaction
from common.errors import StoreUnavailable
from common.pairspec import basket_legs
from common.settings import Settings
from common.streams import START, shard_of, stream_names
from common.tasks import create_task
from common.view import View, committed_view
from ops.follow import task_state
from ops.verify.report import Tell
from ops.verify.run import Damage

#: A rebuild that gets no further for so long is given up.
PATIENCE_S = 60.0
_POLL_S = 0.1
_MARK = """
INSERT INTO dirty_ranges (symbol, first_us, last_us, stream, entry_ms, entry_seq, reason) VALUES %s RETURNING id
"""
_GAP = """
INSERT INTO gaps AS g (symbol, first_id, last_id, from_us, to_us) VALUES %s
ON CONFLICT (symbol, first_id, last_id) DO UPDATE SET state = 'open', closed_at = NULL WHERE g.state = 'closed'
"""

def repair(settings: Settings, connection: Connection, damage: Damage, tell: Tell) -> None:
    """Mend bars and pair rows, record what is missing as gaps; returns once all is rebuilt.

    Raises:
        StoreUnavailable: nobody rebuilds; the marks and tasks stay and are done once somebody does.
    """
    with transaction(connection), connection.cursor() as cursor:
        view = committed_view(cursor, settings)
        holes = [hole for hole in damage.holes if hole.ids and hole.first_us is not None and hole.last_us is not None]
        if holes:
            gaps = [(hole.symbol, *(hole.ids or ()), hole.first_us, hole.last_us) for hole in holes]
            execute_values(cursor, _GAP, gaps)
        spans = [(symbol, *span) for (symbol, _), span in damage.bars.items()]
        spans += [(str(hole.symbol), stamp, stamp) for hole in holes for stamp in (hole.first_us or 0, hole.last_us or 0)]
        marks = [_mark(settings, view, *span) for span in spans]
        ids = [row[0] for row in execute_values(cursor, _MARK, marks, fetch=True)] if marks else []
    _await("marked ranges", lambda: _waiting_marks(connection, ids), tell)
    tasks = [
        create_task(connection, "bars", {"symbol": symbol, "timeframe": timeframe, "start_us": first_us, "end_us": last_us + 1})
        for (symbol, timeframe), (first_us, last_us) in damage.by_hand.items()
    ]
    _await("timeframes", lambda: _waiting_tasks(connection, tasks), tell)
    tasks = _pair_tasks(connection, damage, view)
    _await("pairs", lambda: _waiting_tasks(connection, tasks), tell)


def _mark(settings: Settings, view: View, symbol: str, first_us: int, last_us: int) -> tuple[object, ...]:
    stream = stream_names(settings)[shard_of(symbol, settings.shards)]
    at = view.positions.get(stream, START)
    return symbol, first_us, last_us, stream, at.ms, at.seq, "verify"


def _pair_tasks(connection: Connection, damage: Damage, view: View) -> list[str]:
    tasks = []
    for series, (first_us, last_us) in damage.rows.items():
        legs = basket_legs(series.pair, frozenset(view.watermarks))
        if legs:
            named = {"symbols": list(legs), "timeframe": series.timeframe, "window": series.window, "method": series.method}
            tasks.append(create_task(connection, "spread", {**named, "start_us": first_us, "end_us": last_us + 1}))
    return tasks


def _await(what: str, waiting: Callable[[], int], tell: Tell) -> None:
    total = left = waiting()
    until_s = time.monotonic() + PATIENCE_S
    while left:
        tell(f"rebuilding {what}", total - left, total)
        if time.monotonic() > until_s:
            raise StoreUnavailable(
                f"{left:,} {what} wait for a rebuild and nobody does it; ./gems status tells whether `tasks` runs, "
                f"and how far behind the writers are"
            )
        time.sleep(_POLL_S)
        now = waiting()
        if now < left:
            left, until_s = now, time.monotonic() + PATIENCE_S


def _waiting_marks(connection: Connection, ids: list[int]) -> int:
    with transaction(connection), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dirty_ranges WHERE id = ANY(%s)", (ids,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _waiting_tasks(connection: Connection, tasks: list[str]) -> int:
    return sum(task_state(connection, task_id).state in ("queued", "running") for task_id in tasks)
