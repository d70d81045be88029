"""What PostgreSQL counts, for the metrics: small tables and the server's own statistics, never a scan of ticks or bars."""

from typing import Any

from web.stores import Stores

_COUNTED = """
SELECT json_build_object(
    'writers', (SELECT coalesce(json_agg(json_build_array(worker, stream, stored, repeated, dead)), '[]') FROM writer_positions),
    'shards', (SELECT coalesce(json_agg(json_build_array(shard, position_ms, position_seq, bars, late)), '[]') FROM checkpoints),
    'gaps', (SELECT coalesce(json_agg(json_build_array(state, n, ids)), '[]') FROM (
        SELECT state, count(*) AS n, sum(last_id - first_id + 1) AS ids FROM gaps GROUP BY state) AS by_state),
    'dead_letters', (SELECT coalesce(json_agg(json_build_array(stream, n)), '[]') FROM (
        SELECT stream, count(*) AS n FROM dead_letters GROUP BY stream) AS by_stream),
    'marks', (SELECT count(*) FROM dirty_ranges),
    'tasks', (SELECT coalesce(json_agg(json_build_array(state, n)), '[]') FROM (
        SELECT state, count(*) AS n FROM tasks GROUP BY state) AS by_state),
    'revised', (SELECT coalesce(sum(n_tup_ins), 0) FROM pg_stat_user_tables WHERE relname = 'bar_revisions'))
"""


def counted(stores: Stores) -> dict[str, Any]:
    """Lists of rows by name; `marks` and `revised` are numbers."""
    row = stores.row(_COUNTED)
    assert row, "an aggregate always answers a row"
    found: dict[str, Any] = row[0]
    return found
