"""Reading price statistics."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from web.api import Blueprint, json_text, stores
from web.queries.analytics import stats_rows
from web.schemas import RangeQuery, Symbol, Timeframe, Whole, order_field

STATS_WINDOW = 20
blueprint = Blueprint("analytics", __name__, url_prefix="/api/analytics", description="Statistics")


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
