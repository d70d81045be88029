# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""The newest finished scan of a timeframe and window."""

from collections.abc import Mapping
from typing import Any

from web.queries.pieces import finite, instant
from web.stores import Stores

#: What a scan may be sorted by, best first: the most cointegrated, the fastest to revert, the furthest out ...
SORTS = {
    "coint_pvalue": "coint_pvalue", "half_life": "half_life", "z_score": "abs(z_score) DESC", "hurst": "hurst",
    "correlation": "abs(correlation) DESC", "return_correlation": "abs(return_correlation) DESC",
}  # fmt: skip
_FLOATS = (
    "coint_statistic", "coint_pvalue", "other_way_pvalue", "hedge_ratio", "spread", "z_score", "half_life", "hurst",
    "correlation", "return_correlation",
)  # fmt: skip
_RUN = """
SELECT * FROM scan_runs WHERE timeframe = %(timeframe)s AND window_bars = %(window)s AND finished_at IS NOT NULL
ORDER BY finished_at DESC LIMIT 1
"""


def newest_scan(stores: Stores, query: Mapping[str, Any]) -> str:
    """`{"scan_id", ..., "pairs": [...], "count"}`; without a scan its head is null and the list empty."""
    order = f"{SORTS[query['sort']]} NULLS LAST, symbol_pair"
    columns = f"symbol_pair, symbol1, symbol2, {', '.join(map(finite, _FLOATS))}, rows, carried"
    ranked = (
        f"SELECT {columns} FROM (SELECT * FROM pair_scans WHERE scan_id = (SELECT scan_id FROM run)"
        f" ORDER BY {order} LIMIT %(limit)s) AS best ORDER BY {order}"
    )
    head = (
        f"'scan_id', run.scan_id, 'timeframe', %(timeframe)s, 'window', %(window)s, 'symbols', run.symbols,"
        f" 'computed_on', {instant('run.computed_on')}, 'started_at', {instant('run.started_at')},"
        f" 'finished_at', {instant('run.finished_at')}, 'pairs_scanned', run.pairs"
    )
    return stores.text(
        f"WITH run AS ({_RUN}), ranked AS ({ranked}) SELECT json_build_object({head},"
        " 'pairs', (SELECT coalesce(json_agg(ranked), '[]') FROM ranked), 'count', (SELECT count(*) FROM ranked))::text"
        " FROM (SELECT) AS always LEFT JOIN run ON true",
        query,
    )
