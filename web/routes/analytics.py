"""Statistics of a symbol's bars; correlations of all symbols."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from common.settings import Settings
from web.api import Blueprint, stores
from web.caching import range_json
from web.errors import bad
from web.exporting import FILES_TOO, asked_as_file, list_format
from web.paging import Cursor, Page
from web.queries.analytics import stats_rows
from web.queries.correlation import MOST_CLOSES, correlation_matrix
from web.routes.spread import Symbols
from web.schemas import Body, RangeQuery, Symbol, Timeframe, Whole, as_of_field, order_field

#: Windows of statistics, in bars.
STATS_WINDOWS = (2, 10_000)
blueprint = Blueprint("analytics", __name__, url_prefix="/api/analytics", description="Statistics and correlations")


def _of_w(text: str) -> fields.Float:
    return fields.Float(allow_none=True, metadata={"description": text})


class StatsQuery(RangeQuery):
    """Which statistics."""

    symbol = Symbol(required=True)
    timeframe = Timeframe(load_default="1s")
    window = Whole(*STATS_WINDOWS, metadata={"description": "W, bars in the rolling window; default GEMS_STATS_WINDOW."})
    as_of = as_of_field()
    annualised = fields.Boolean(
        load_default=False,
        metadata={
            "description": "Both volatilities times the root of the bars in 365 days (over W for the realised one), as if"
            " each of these bars were there."
        },
    )
    order = order_field("asc")
    cursor = Cursor("stats")
    format = list_format()


class StatsRow(Schema):
    """Statistics of a symbol at the close of a bar, from bars up to this one; null where undefined."""

    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.000000Z"})
    returns = _of_w("Close over the close before, less 1.")
    log_return = _of_w("Logarithm of close over the close before.")
    volatility = _of_w("Deviation (ddof 1) of the last W returns; null where no return differs from another.")
    realised_volatility = _of_w("Root of the sum of the last W squared log returns; null where nothing moved.")
    volume_ma = _of_w("Mean of the last W volumes.")
    price_change_pct = _of_w("Close over open, less 1, in percent.")
    high_low_range = _of_w("High less low.")
    vwap = _of_w("Quote volume over volume of the last W bars.")
    taker_imbalance = _of_w("(Bought - sold) / volume by takers in the last W bars, -1 to 1; null without a buy: no sides known.")
    atr = _of_w("Average true range: plain mean of the last W.")
    drawdown = _of_w("Close over the highest of the last W closes, less 1; 0 or below.")
    has_gap = fields.Boolean(metadata={"description": "A bar that it used has status gap."})
    revision = fields.Integer(metadata={"description": "How often rebuilt bars have changed it."})
    written_at = fields.String(metadata={"description": "When this revision was written."})
    window = fields.Integer()


class StatsRows(Page):
    """Statistics, oldest first."""

    stats = fields.List(fields.Nested(StatsRow))


@blueprint.route("/stats/")
class StatsResource(MethodView):
    """Statistics of a symbol."""

    @blueprint.arguments(StatsQuery, location="query")
    @blueprint.response(200, StatsRows)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest statistics of a symbol, oldest first"""
        query = {"window": stores().settings.stats_window, **query}
        return asked_as_file("stats", query, query["symbol"]) or range_json(stats_rows(stores(), query), query)


class CorrelationQuery(Body):
    """Which correlations."""

    timeframe = Timeframe(load_default="1s")
    window = Whole(3, 10_000, metadata={"description": "Rows that are looked at; default GEMS_WINDOW."})
    symbols = Symbols(metadata={"description": "With commas; default GEMS_SYMBOLS."})


class Matrix(Schema):
    """A line a symbol, in the order of `symbols`. Null: it does not move, or has no price in one of the rows."""

    symbols = fields.List(fields.String())
    timeframe = fields.String()
    window = fields.Integer()
    as_of = fields.String(allow_none=True, metadata={"description": "The newest bar looked at; null: too few rows."})
    since = fields.String(allow_none=True, metadata={"description": "The oldest."})
    prices = fields.List(fields.List(fields.Float(allow_none=True)), metadata={"description": "Correlations of closes."})
    returns = fields.List(fields.List(fields.Float(allow_none=True)), metadata={"description": "Of the returns between them."})
    carried = fields.Dict(metadata={"description": "By symbol, in how many rows its last close was carried forward."})


@blueprint.route("/correlation/")
class CorrelationResource(MethodView):
    """Correlations of all symbols."""

    @blueprint.arguments(CorrelationQuery, location="query")
    @blueprint.response(200, Matrix)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Correlations of prices and of returns of each two symbols, over the newest rows

        A row is a time at which one of the symbols has a bar; the others carry their last close, up to GEMS_STALE_LEG_S. Rows
        end where the bars of all of them are closed, but for symbols that are further behind than that.
        """
        settings = stores().settings
        symbols = asked_symbols(settings, query)
        window = query.get("window", settings.window)
        if len(symbols) * window > MOST_CLOSES:
            raise bad("window", f"must be at most {MOST_CLOSES // len(symbols):,} for {len(symbols)} symbols, was {window}")
        return correlation_matrix(stores(), symbols, query["timeframe"], window)


def asked_symbols(settings: Settings, given: dict[str, Any]) -> list[str]:
    """The symbols that are asked for, or those of the settings; 400 unless they are 2 to 200, each once."""
    symbols = list(given.get("symbols") or settings.symbols)
    if not 2 <= len(symbols) <= 200 or len(set(symbols)) < len(symbols):
        raise bad("symbols", f"must be 2 to 200 different symbols, was {','.join(symbols)!r:.200}")
    return symbols
