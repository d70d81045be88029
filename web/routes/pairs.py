"""Pair series while it runs: list them, add one, remove one."""

import json
from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields

from web.api import Blueprint, json_text, stores
from web.errors import Conflict, NotFound, bad
from web.paging import Page
from web.queries.pairs import add_pair, list_pairs, remove_pair
from web.routes.spread import Method, OfSeries, PairRow, known_legs, series_of
from web.schemas import Body, PairName, Timeframe, Whole, decimals_field

blueprint = Blueprint("pairs", __name__, url_prefix="/api/analytics/pairs", description="Pair series that are kept up to date")


class SeriesQuery(Body):
    """Which of a pair's series; all that are not said."""

    timeframe = Timeframe()
    window = Whole(3, 10_000)
    method = Method()


class PairsQuery(SeriesQuery):
    """Which series."""

    symbol_pair = PairName()
    all = fields.Boolean(load_default=False, metadata={"description": "Also series that are not live but have rows."})
    newest = fields.Boolean(load_default=False, metadata={"description": "Also the newest row of each."})
    decimals = decimals_field()


class PairSeries(Schema):
    """A series of pair rows."""

    symbol_pair = fields.String(metadata={"example": "BTCUSDT_ETHUSDT"})
    symbols = fields.List(fields.String(), metadata={"description": "The legs, y first."})
    timeframe = fields.String()
    window = fields.Integer()
    method = fields.String(metadata={"example": "kalman+log"})
    origin = fields.String(metadata={"description": "settings, request or computed (a task made rows, nobody keeps them up)"})
    live = fields.Boolean()
    added_at = fields.String()
    removed_at = fields.String(allow_none=True)
    last_row_at = fields.String(allow_none=True)
    newest = fields.Nested(PairRow, allow_none=True, metadata={"description": "Only where asked for; null: it has none yet."})
    task_id = fields.String(metadata={"description": "Where it was added: the task that fills its past."})


class PairList(Page):
    """Series of pair rows."""

    pairs = fields.List(fields.Nested(PairSeries))


class PairBody(OfSeries, Body):
    """A series to add."""


class SeriesName(Schema):
    """What names a series."""

    symbol_pair = fields.String(metadata={"example": "BTCUSDT_ETHUSDT"})
    timeframe = fields.String()
    window = fields.Integer()
    method = fields.String()


class Removed(Schema):
    """What was removed."""

    status = fields.String(metadata={"example": "removed"})
    removed = fields.List(fields.Nested(SeriesName))
    count = fields.Integer()


@blueprint.route("/")
class PairsResource(MethodView):
    """All series."""

    @blueprint.arguments(PairsQuery, location="query")
    @blueprint.response(200, PairList)
    def get(self, query: dict[str, Any]) -> Response:
        """The series that are kept up to date"""
        return json_text(list_pairs(stores(), query))

    @blueprint.arguments(PairBody)
    @blueprint.response(201, PairSeries)
    @blueprint.alt_response(200, schema=PairSeries, description="It was live already.")
    def post(self, body: dict[str, Any]) -> Response:
        """Keep a series up to date from now on, and fill its past from stored bars"""
        built = stores().settings.timeframes
        if body["timeframe"] not in built:
            raise bad("timeframe", f"must be one that is built ({', '.join(built)}), was {body['timeframe']!r}")
        series = series_of(body)
        known_legs(series)
        try:
            text, task_id = add_pair(stores(), series)
        except ValueError as exc:
            raise Conflict(str(exc)) from exc
        if task_id is None:
            return json_text(text)
        return json_text(json.dumps({**json.loads(text), "task_id": task_id}), 201)


@blueprint.route("/<symbol_pair>/")
class PairResource(MethodView):
    """The series of one pair."""

    @blueprint.arguments(SeriesQuery, location="query")
    @blueprint.response(200, Removed)
    def delete(self, query: dict[str, Any], symbol_pair: str) -> dict[str, Any]:
        """Make no more rows of a pair (of one timeframe, window, method); the rows it has stay"""
        found = remove_pair(stores(), symbol_pair.upper(), query)
        if not found:
            raise NotFound("No such pair is live")
        names = ("symbol_pair", "timeframe", "window", "method")
        named = [dict(zip(names, key, strict=True)) for key in found]
        return {"status": "removed", "removed": named, "count": len(named)}
