"""Posting ticks."""

from typing import Any

from flask import request
from flask.views import MethodView
from marshmallow import Schema, fields

from common.judge import Limits
from web.api import Blueprint, read_json, stores
from web.errors import bad
from web.intake import now_ms, take_in
from web.posted import MAX_TICKS, read_posted
from web.routes.tasks import Made

MAX_KEY = 255
blueprint = Blueprint("ingest", __name__, url_prefix="/api/ingestion", description="Ways in")


class PostedTick(Schema):
    """A tick. `ts`: ISO 8601 with Z or an offset, or epoch milliseconds or microseconds."""

    symbol = fields.String(required=True, metadata={"example": "BTCUSDT"})
    ts = fields.String(required=True, metadata={"example": "2026-11-23T07:00:00.123456Z"})
    price = fields.Decimal(required=True, metadata={"example": 43000.12})
    size = fields.Decimal(required=True, metadata={"example": 0.0123})
    trade_id = fields.Integer(metadata={"description": "The venue's id; without it one is made from the content."})
    side = fields.String(metadata={"description": "The taker's: buy or sell."})


class IngestBody(Schema):
    """Ticks, all or none."""

    ticks = fields.List(fields.Nested(PostedTick), required=True, metadata={"minItems": 1, "maxItems": MAX_TICKS})
    source = fields.String(metadata={"description": "What kind the trade ids are, such as binance.aggTrade."})


class Ingested(Made):
    """The ticks are in the stream."""

    tick_count = fields.Integer()


@blueprint.route("/ingest/")
class IngestResource(MethodView):
    """Ticks into the stream."""

    @blueprint.doc(
        requestBody={"required": True, "content": {"application/json": {"schema": IngestBody}}},
        parameters=[{"in": "header", "name": "Idempotency-Key", "schema": {"type": "string", "maxLength": MAX_KEY}}],
    )
    @blueprint.response(202, Ingested)
    def post(self) -> dict[str, Any]:
        """Post ticks; answered once they are safely in the stream"""
        body, key = request.get_data(), _key()
        posted = read_posted(read_json(request, exact=True), Limits.of(stores().settings), now_ms(stores()))
        task_id = take_in(stores(), posted, body, key)
        return {"status": "processing", "task_id": task_id, "tick_count": len(posted.identified) + len(posted.anonymous)}


def _key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and (not 0 < len(key) <= MAX_KEY or not key.isprintable()):
        raise bad("Idempotency-Key", f"must be 1 to {MAX_KEY} printable characters")
    return key
