"""What PostgreSQL counts, for the metrics: small tables and the server's own statistics, never a scan of ticks or bars."""

from typing import Any

from common.settings import Settings
from web.asking import asked

_COUNTED = """
SELECT json_build_object(
    'writers', (SELECT coalesce(json_agg(json_build_array(worker, stream, stored, repeated, dead)), '[]') FROM writer_positions),
    'shards', (SELECT coalesce(json_agg(json_build_array(shard, position_ms, position_seq, bars, late)), '[]') FROM checkpoints),
    'gaps', (SELECT coalesce(json_agg(json_build_array(state, n, ids)), '[]') FROM (
        SELECT state, count(*) AS n, sum(last_id - first_id + 1) AS ids FROM gaps GROUP BY state) AS by_state),
    'dead_letters', (SELECT coalesce(json_agg(json_build_array(stream, n)), '[]') FROM (
        SELECT stream, count(*) AS n FROM dead_letters GROUP BY stream) AS by_stream),
    'deliveries', (SELECT json_build_array(count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead'),
            extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')))
        FROM alert_deliveries WHERE state IN ('waiting', 'dead')),
    'marks', (SELECT count(*) FROM dirty_ranges),
    'tasks', (SELECT coalesce(json_agg(json_build_array(state, n)), '[]') FROM (
        SELECT state, count(*) AS n FROM tasks GROUP BY state) AS by_state),
    'revised', (SELECT coalesce(sum(n_tup_ins), 0) FROM pg_stat_user_tables WHERE relname = 'bar_revisions'))
"""


def counted(settings: Settings) -> dict[str, Any]:
    """Lists of rows by name; `marks` and `revised` are numbers, `deliveries` is waiting, dead, age of the oldest that waits."""
    with asked(settings) as ask:
        found: dict[str, Any] = ask.row(_COUNTED)[0]
        return found
