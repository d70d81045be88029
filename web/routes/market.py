"""Reading what was traded: ticks, bars, totals; and rebuilding bars."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from web.api import Blueprint, json_text, stores
from web.caching import range_json
from web.exporting import FILES_TOO, asked_as_file, list_format
from web.paging import Cursor, Page
from web.queries.bars import newest_bars
from web.queries.ticks import newest_ticks
from web.queries.totals import totals
from web.schemas import RangeQuery, Symbol, Timeframe, as_of_field, decimals_field, order_field

blueprint = Blueprint("market", __name__, url_prefix="/api/ingestion", description="Ticks and bars")


class TicksQuery(RangeQuery):
    """Which ticks."""

    symbol = Symbol(required=True)
    order = order_field("desc")
    decimals = decimals_field()
    cursor = Cursor("ticks", 3)
    format = list_format()


class Tick(Schema):
    """One trade."""

    symbol = fields.String()
    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.123456Z"})
    price = fields.Float()
    size = fields.Float()
    side = fields.String(allow_none=True, metadata={"description": "The taker's: b, s, or null where unknown."})
    trade_id = fields.Integer(metadata={"description": "The venue's; negative where it was made from the content."})
    seq = fields.Integer(allow_none=True, metadata={"description": "Position in its request, for ticks without an id."})


class Ticks(Page):
    """A list of ticks."""

    ticks = fields.List(fields.Nested(Tick))


@blueprint.route("/ticks/")
class TicksResource(MethodView):
    """Ticks of a symbol."""

    @blueprint.arguments(TicksQuery, location="query")
    @blueprint.response(200, Ticks)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest ticks of a symbol, newest first"""
        file = asked_as_file("ticks", query, query["symbol"])
        return file or range_json(newest_ticks(stores(), query), query)


class BarsQuery(RangeQuery):
    """Which bars."""

    symbol = Symbol(required=True)
    timeframe = Timeframe(load_default="1s")
    order = order_field("desc")
    decimals = decimals_field()
    cursor = Cursor("bars")
    fill = fields.String(
        validate=validate.OneOf(("prev",), error="must be prev, was '{input}'"),
        metadata={"description": "`prev` draws bars that nobody traded in, at the close before them (status `filled`)."},
    )
    as_of = as_of_field()
    format = list_format()

    @validates_schema
    def _not_both(self, query: dict[str, Any], **kwargs: Any) -> None:
        if query.get("fill") and query.get("as_of"):
            raise ValidationError("can not be drawn with as_of", "fill")


class Bar(Schema):
    """OHLCV over [timestamp, timestamp + timeframe)."""

    symbol = fields.String()
    timeframe = fields.String()
    timestamp = fields.String(metadata={"example": "2026-11-23T07:00:00.000000Z"})
    open = fields.Float()
    high = fields.Float()
    low = fields.Float()
    close = fields.Float()
    volume = fields.Float()
    tick_count = fields.Integer()
    quote_volume = fields.Float()
    vwap = fields.Float(allow_none=True)
    taker_buy_volume = fields.Float()
    taker_buy_quote_volume = fields.Float()
    status = fields.String(metadata={"description": "complete, gap, partial; or filled"})
    revision = fields.Integer(metadata={"description": "How often late trades have changed it."})


class Bars(Page):
    """A list of bars."""

    bars = fields.List(fields.Nested(Bar))


@blueprint.route("/bars/")
class BarsResource(MethodView):
    """Bars of a symbol."""

    @blueprint.arguments(BarsQuery, location="query")
    @blueprint.response(200, Bars)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any]) -> Response:
        """The newest bars of a symbol and timeframe, newest first"""
        file = asked_as_file("bars", query, query["symbol"])
        return file or range_json(newest_bars(stores(), query), query)


class Totals(Schema):
    """How much there is."""

    tick_count = fields.Integer()
    bar_count = fields.Integer()
    symbols = fields.List(fields.String())


@blueprint.route("/stats/")
class TotalsResource(MethodView):
    """Totals."""

    @blueprint.response(200, Totals)
    def get(self) -> Response:
        """How many ticks and bars are stored, and of which symbols"""
        return json_text(totals(stores()))
