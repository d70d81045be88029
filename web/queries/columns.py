# ruff: noqa: S608 - only constants of this package are text; values travel as parameters
"""The columns of every export, what they are narrowed and sorted by, and how each kind is written in each form. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from web.queries.analytics import FLOATS, stats_versions
from web.queries.bars import bar_versions
from web.queries.pieces import instant
from web.queries.spread import PAIR_FLOATS, PAIR_TESTS, pair_versions

#: Decimals of columnar files are decimal128(38, 18).
FRACTION_DIGITS, WHOLE_DIGITS = 18, 20
#: `quotient` is a decimal that was rounded when it was divided: nothing is lost by a float64. `json` is nested.
Kind = Literal["text", "whole", "flag", "stamp", "float", "decimal", "quotient", "floats", "decimals", "json"]
Form = Literal["json", "csv", "columnar"]


class Column(NamedTuple):
    """A column: its name in files, its SQL, its kind."""

    name: str
    sql: str
    kind: Kind


class Export(NamedTuple):
    """A table of rows: its columns, where they come from (`known`: with `as_of`), what narrows them, and how they are sorted."""

    columns: tuple[Column, ...]
    source: str
    filters: dict[str, str]
    stamp: str
    keys: tuple[str, ...]
    known: Callable[[Mapping[str, Any]], str] | None = None


def written(column: Column, form: Form, exact: bool) -> str:
    """SQL of a column under its name. Stamps of columnar files are whole microseconds since 1970; `exact`: decimals as text."""
    return f"{_value(column, form, exact or form == 'csv')} AS {column.name}"


def _value(column: Column, form: Form, exact: bool) -> str:
    sql, kind, columnar = column.sql, column.kind, form == "columnar"
    if kind == "stamp":
        return f"(extract(epoch FROM {sql}) * 1000000)::bigint" if columnar else instant(sql)
    if kind == "float":
        return f"nullif(nullif(nullif({sql}, 'NaN'), 'Infinity'), '-Infinity')"
    if kind == "json" or (form == "csv" and kind in ("floats", "decimals")):
        return f"{sql}::text" if form != "json" else sql
    if kind == "decimals":
        return f"{sql}::text[]" if exact or columnar else sql
    if kind in ("decimal", "quotient") and exact:
        return f"{sql}::text"
    if columnar and kind in ("decimal", "quotient"):
        return f"trim_scale({sql})::text" if kind == "decimal" else f"{sql}::float8"
    return sql


def _of(kind: Kind, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, name, kind) for name in names)


def _named(kind: Kind, **sql_by_name: str) -> tuple[Column, ...]:
    return tuple(Column(name, sql, kind) for name, sql in sql_by_name.items())


def _pairs_known(query: Mapping[str, Any]) -> str:
    series = (
        "%(symbol_pair)s::text AS symbol_pair, %(timeframe)s::text AS timeframe, %(window)s AS window_bars,"
        " %(method)s::text AS method"
    )
    return f"(SELECT {series}, rows.* FROM ({pair_versions(query)}) AS rows) AS versions"


def _stats_known(query: Mapping[str, Any]) -> str:
    series = "%(symbol)s::text AS symbol, %(timeframe)s::text AS timeframe, %(window)s AS window_bars"
    return f"(SELECT {series}, rows.* FROM ({stats_versions(query)}) AS rows) AS versions"


EXPORTS = {
    "ticks": Export(
        (
            *_of("text", "symbol"),
            *_of("stamp", "timestamp"),
            *_of("decimal", "price", "size"),
            *_of("text", "side"),
            *_of("whole", "trade_id", "seq"),
        ),
        "raw_ticks",
        {"symbol": "symbol"},
        "timestamp",
        ("timestamp", "coalesce(seq, 0)", "trade_id"),
    ),
    "bars": Export(
        (
            *_of("text", "symbol", "timeframe"),
            *_of("stamp", "timestamp"),
            *_of("decimal", "open", "high", "low", "close", "volume"),
            *_of("whole", "tick_count"),
            *_of("decimal", "quote_volume"),
            *_of("quotient", "vwap"),
            *_of("decimal", "taker_buy_volume", "taker_buy_quote_volume"),
            *_of("text", "status"),
            *_of("whole", "revision"),
        ),
        "processed_bars",
        {"symbol": "symbol", "timeframe": "timeframe"},
        "timestamp",
        ("timestamp",),
        lambda query: f"(SELECT * {bar_versions(query)}) AS bars",
    ),
    "spread": Export(
        (
            *_of("text", "symbol_pair", "timeframe"),
            *_of("stamp", "timestamp"),
            *_named("whole", window="window_bars"),
            *_of("text", "method"),
            *_of("decimal", "symbol1_price", "symbol2_price"),
            *_of("float", *PAIR_FLOATS, *PAIR_TESTS),
            *_of("flag", "is_cointegrated"),
            *_of("stamp", "coint_at"),
            *_of("text", "carried"),
            *_of("flag", "has_gap"),
            *_of("whole", "revision"),
            *_of("stamp", "written_at"),
            *_of("floats", "hedge_ratios"),
            *_of("decimals", "leg_prices"),
        ),
        "spread_analytics",
        {"symbol_pair": "symbol_pair", "timeframe": "timeframe", "window": "window_bars", "method": "method"},
        "timestamp",
        ("timestamp",),
        _pairs_known,
    ),
    "stats": Export(
        (
            *_of("text", "symbol", "timeframe"),
            *_of("stamp", "timestamp"),
            *_named("whole", window="window_bars"),
            *_of("float", *FLOATS),
            *_of("flag", "has_gap"),
            *_of("whole", "revision"),
            *_of("stamp", "written_at"),
        ),
        "price_stats",
        {"symbol": "symbol", "timeframe": "timeframe", "window": "window_bars"},
        "timestamp",
        ("timestamp",),
        _stats_known,
    ),
    "alert-events": Export(
        (
            *_named("whole", event_id="e.id", id="e.alert_id"),
            *_named("text", alert_type="a.alert_type", symbol_pair="a.symbol_pair", timeframe="a.timeframe"),
            *_named("text", transition="e.transition"),
            *_named("stamp", timestamp="e.bar_timestamp"),
            *_named("float", value="e.value"),
            *_named("text", severity="a.severity", note="a.note"),
            *_named("flag", silenced="e.silenced"),
            *_named("stamp", created_at="e.created_at"),
            *_named("json", details="e.details"),
        ),
        "alert_events e JOIN alerts a ON a.id = e.alert_id",
        {
            "symbol_pair": "a.symbol_pair",
            "alert_id": "e.alert_id",
            "transition": "e.transition",
            "severity": "a.severity",
        },
        "e.bar_timestamp",
        ("e.id",),
    ),
}
