"""Silences: the alerts of a pair or symbol are recorded and not delivered, until a time."""

from datetime import UTC, datetime
from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, ValidationError, fields, validates

from web.api import Blueprint, json_text, stores
from web.errors import NotFound, bad
from web.paging import Cursor, Page
from web.queries.alerts import end_silence, followed_series, insert_silence, list_silences
from web.queries.totals import known_symbols
from web.routes.alerts import MAX_ID, note_field
from web.schemas import MAX_LIMIT, Body, PairName, Stamp, Whole

blueprint = Blueprint("silences", __name__, url_prefix="/api/analytics/alerts/silences", description="Silences of alerts")


class SilenceBody(Body):
    """What is to be silent, and until when."""

    symbol_pair = PairName(required=True, metadata={"description": "A pair or a symbol."})
    until = Stamp(
        required=True,
        error_messages={"required": "is required", "null": "must be given"},
        metadata={"type": "string", "description": "Its end: ISO 8601, or epoch s, ms or us."},
    )
    note = note_field(load_default="")

    @validates("until")
    def _in_the_future(self, value: datetime, **kwargs: Any) -> None:
        if value <= datetime.now(UTC):
            raise ValidationError(f"must be in the future, was {value.isoformat()!r}")


class SilencesQuery(Body):
    """Which silences."""

    symbol_pair = PairName()
    ended = fields.Boolean(load_default=False, metadata={"description": "Also those that are over."})
    before = Whole(1, MAX_ID, metadata={"description": "Only silences with a smaller id: the next page."})
    limit = Whole(1, MAX_LIMIT, load_default=100)
    cursor = Cursor("silences", stamped=False)


class Silence(Schema):
    """A silence."""

    id = fields.Integer()
    symbol_pair = fields.String()
    until = fields.String()
    note = fields.String()
    created_at = fields.String()
    ended_at = fields.String(allow_none=True)
    active = fields.Boolean()


class Silences(Page):
    """A list of silences."""

    silences = fields.List(fields.Nested(Silence))


@blueprint.route("/")
class SilencesResource(MethodView):
    """All silences."""

    @blueprint.arguments(SilencesQuery, location="query")
    @blueprint.response(200, Silences)
    def get(self, query: dict[str, Any]) -> Response:
        """Silences, newest first"""
        return json_text(list_silences(stores(), query))

    @blueprint.arguments(SilenceBody)
    @blueprint.response(201, Silence)
    def post(self, body: dict[str, Any]) -> Response:
        """Silence the alerts of a pair or symbol until a time"""
        names = {pair for pair, *_ in followed_series(stores())} | known_symbols(stores())
        if body["symbol_pair"] not in names:
            raise bad("symbol_pair", f"is neither a followed pair nor a known symbol, was {body['symbol_pair']!r:.90}")
        return json_text(insert_silence(stores(), body), 201)


class Ended(Schema):
    """The silence is over."""

    status = fields.String(metadata={"example": "ended"})


@blueprint.route("/<int:silence_id>/")
class SilenceResource(MethodView):
    """One silence."""

    @blueprint.response(200, Ended)
    def delete(self, silence_id: int) -> dict[str, str]:
        """End a silence"""
        if not end_silence(stores(), silence_id):
            raise NotFound("Silence not found")
        return {"status": "ended"}
