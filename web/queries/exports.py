# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""What can be exported, and its rows through a cursor of the server: a few thousand at a time, from one snapshot."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from common.database import connect_database
from common.settings import Settings
from web.queries.pieces import finite, instant, within

BATCH_ROWS = 2_000
#: Of one FETCH; the first one of ticks sorts them all.
STATEMENT_TIMEOUT_S = 300
#: A client that takes nothing for so long loses its session.
IDLE_TIMEOUT_S = 120
_STATS = (
    "returns", "log_return", "volatility", "realised_volatility", "volume_ma", "price_change_pct", "high_low_range", "vwap",
    "taker_imbalance", "atr", "drawdown",
)  # fmt: skip
_PAIR = (
    "hedge_ratio", "intercept", "spread", "z_score", "rolling_mean", "rolling_std", "correlation", "return_correlation",
    "half_life", "innovation_z", "adf_statistic", "adf_pvalue", "hurst", "variance_ratio", "spread_adf_statistic",
    "spread_adf_pvalue",
)  # fmt: skip


class Export(NamedTuple):
    """A table of rows: its columns as SQL, where they come from, what they are narrowed by, and how they are sorted."""

    columns: tuple[str, ...]
    source: str
    filters: dict[str, str]
    stamp: str
    keys: tuple[str, ...]
    decimals: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


EXPORTS = {
    "ticks": Export(
        ("symbol", f"{instant('timestamp')} AS timestamp", "price", "size", "side", "trade_id", "seq"),
        "raw_ticks",
        {"symbol": "symbol"},
        "timestamp",
        ("timestamp", "coalesce(seq, 0)", "trade_id"),
        ("price", "size"),
    ),
    "bars": Export(
        (
            "symbol",
            "timeframe",
            f"{instant('timestamp')} AS timestamp",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "tick_count",
            "quote_volume",
            "vwap",
            "taker_buy_volume",
            "taker_buy_quote_volume",
            "status",
            "revision",
        ),
        "processed_bars",
        {"symbol": "symbol", "timeframe": "timeframe"},
        "timestamp",
        ("timestamp",),
        ("open", "high", "low", "close", "volume", "quote_volume", "vwap", "taker_buy_volume", "taker_buy_quote_volume"),
    ),
    "spread": Export(
        (
            "symbol_pair",
            "timeframe",
            f"{instant('timestamp')} AS timestamp",
            "window_bars AS window",
            "method",
            "symbol1_price",
            "symbol2_price",
            *map(finite, _PAIR),
            "is_cointegrated",
            f"{instant('coint_at')} AS coint_at",
            "carried",
            "has_gap",
            "revision",
        ),
        "spread_analytics",
        {"symbol_pair": "symbol_pair", "timeframe": "timeframe", "window": "window_bars", "method": "method"},
        "timestamp",
        ("timestamp",),
        ("symbol1_price", "symbol2_price"),
        ("hedge_ratios", "leg_prices"),
    ),
    "stats": Export(
        (
            "symbol",
            "timeframe",
            f"{instant('timestamp')} AS timestamp",
            "window_bars AS window",
            *map(finite, _STATS),
            "has_gap",
            "revision",
        ),
        "price_stats",
        {"symbol": "symbol", "timeframe": "timeframe", "window": "window_bars"},
        "timestamp",
        ("timestamp",),
    ),
    "alert-events": Export(
        (
            "e.id AS event_id",
            "e.alert_id AS id",
            "a.alert_type",
            "a.symbol_pair",
            "a.timeframe",
            "e.transition",
            f"{instant('e.bar_timestamp')} AS timestamp",
            "e.value",
            "a.severity",
            "a.note",
            "e.silenced",
            f"{instant('e.created_at')} AS created_at",
        ),
        "alert_events e JOIN alerts a ON a.id = e.alert_id",
        {"symbol_pair": "a.symbol_pair", "alert_id": "e.alert_id"},
        "e.bar_timestamp",
        ("e.id",),
        (),
        ("details",),
    ),
}


class Rows:
    """The rows of an export, in batches; open until `close`."""

    def __init__(self, settings: Settings, name: str, query: Mapping[str, Any]) -> None:
        self._connection = connect_database(settings, "web export")
        try:
            with self._connection.cursor() as settled:
                settled.execute(
                    f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'; SET jit = off;"
                    f" SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'"
                )
            self._cursor = self._connection.cursor(f"export_{uuid4().hex}")
            self._cursor.execute(_select(EXPORTS[name], query), query)
            self._first: list[tuple[Any, ...]] = self._cursor.fetchmany(BATCH_ROWS)
            assert self._cursor.description
            self.names: Sequence[str] = [column.name for column in self._cursor.description]
        except BaseException:
            self._connection.close()
            raise

    def __iter__(self) -> Iterator[list[tuple[Any, ...]]]:
        batch = self._first
        while batch:
            yield batch
            batch = self._cursor.fetchmany(BATCH_ROWS)

    def close(self) -> None:
        """End the session, and with it the snapshot."""
        self._connection.close()


def _select(export: Export, query: Mapping[str, Any]) -> str:
    """SQL of the rows: columns for CSV, else one column of JSON."""
    csv = query["format"] == "csv"
    exact = csv or query["decimals"] == "string"
    columns = [f"{column}::text AS {column}" if exact and column in export.decimals else column for column in export.columns]
    columns += [f"{column}::text AS {column}" if csv else column for column in export.nested]
    narrowed = "".join(f" AND {column} = %({name})s" for name, column in export.filters.items() if query.get(name) is not None)
    where = f"WHERE true{narrowed}{within(query, export.stamp)}"
    by = ", ".join(f"{key} DESC" if query["order"] == "desc" else key for key in export.keys)
    if csv:
        return f"SELECT {', '.join(columns)} FROM {export.source} {where} ORDER BY {by}"
    row = f"SELECT row_to_json(listed)::text AS row FROM (SELECT {', '.join(columns)}) AS listed"
    return f"SELECT shown.row FROM {export.source}, LATERAL ({row}) AS shown {where} ORDER BY {by}"
