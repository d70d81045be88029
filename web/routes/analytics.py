"""Reading pair rows and price statistics."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from web.api import Blueprint, json_text, stores
from web.queries.analytics import spread_rows, stats_rows
from web.schemas import RangeQuery, Symbol, Timeframe, Whole, order_field

STATS_WINDOW = 20
blueprint = Blueprint("analytics", __name__, url_prefix="/api/analytics", description="Pairs and statistics")


class SpreadQuery(RangeQuery):
    """Which rows of a pair."""

    symbol1 = Symbol(required=True, metadata={"description": "y, the leg that is explained"})
    symbol2 = Symbol(required=True, metadata={"description": "x, the leg that explains"})
    timeframe = Timeframe(load_default="1s")
    window = Whole(3, 10_000, metadata={"description": "Bars in the rolling window; default GEMS_WINDOW."})
    order = order_field("asc")


class PairRow(Schema):
    """A pair at the close of a bar, from bars up to this one; a statistic is null until its window is full."""

    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.000000Z"})
    symbol1_price = fields.Float()
    symbol2_price = fields.Float()
    hedge_ratio = fields.Float(allow_none=True)
    intercept = fields.Float(allow_none=True)
    spread = fields.Float(allow_none=True)
    z_score = fields.Float(allow_none=True)
    rolling_mean = fields.Float(allow_none=True)
    rolling_std = fields.Float(allow_none=True)
    correlation = fields.Float(allow_none=True)
    adf_statistic = fields.Float(allow_none=True, metadata={"description": "Engle-Granger, at the bar `coint_at`."})
    adf_pvalue = fields.Float(allow_none=True)
    is_cointegrated = fields.Boolean(allow_none=True)
    coint_at = fields.String(allow_none=True)
    carried = fields.String(metadata={"description": "The leg whose last close was carried forward: y, x or empty."})
    has_gap = fields.Boolean()
    revision = fields.Integer()


class PairRows(Schema):
    """Rows of a pair, oldest first."""

    analytics = fields.List(fields.Nested(PairRow))
    count = fields.Integer()


@blueprint.route("/spread/")
class SpreadResource(MethodView):
    """Rows of a pair."""

    @blueprint.arguments(SpreadQuery, location="query")
    @blueprint.response(200, PairRows)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest rows of a pair, oldest first"""
        return json_text(spread_rows(stores(), {"window": stores().settings.window, **query}))


class StatsQuery(RangeQuery):
    """Which statistics."""

    symbol = Symbol(required=True)
    timeframe = Timeframe(load_default="1s")
    window = Whole(2, 10_000, load_default=STATS_WINDOW, metadata={"description": "Bars in the rolling window."})
    order = order_field("asc")


class StatsRow(Schema):
    """Statistics of a symbol at the close of a bar."""

    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.000000Z"})
    returns = fields.Float(allow_none=True)
    volatility = fields.Float(allow_none=True)
    volume_ma = fields.Float(allow_none=True)
    price_change_pct = fields.Float(allow_none=True)
    high_low_range = fields.Float(allow_none=True)


class StatsRows(Schema):
    """Statistics, oldest first."""

    stats = fields.List(fields.Nested(StatsRow))
    count = fields.Integer()


@blueprint.route("/stats/")
class StatsResource(MethodView):
    """Statistics of a symbol."""

    @blueprint.arguments(StatsQuery, location="query")
    @blueprint.response(200, StatsRows)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest statistics of a symbol, oldest first"""
        return json_text(stats_rows(stores(), query))
