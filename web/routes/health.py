"""Health: of the web alone, and of the whole pipeline."""

from typing import Any

from flask import Flask, Response, current_app
from flask.views import MethodView
from marshmallow import Schema, fields

from web.api import Blueprint
from web.health import Health

blueprint = Blueprint("health", __name__, url_prefix="/api", description="The pipeline's health")


class StreamHealth(Schema):
    """The stream of trades, and its readers."""

    length = fields.Integer()
    lag_entries = fields.Integer(allow_none=True, metadata={"description": "Not yet given to a writer."})
    pending = fields.Integer(metadata={"description": "Given to a writer, not yet committed."})
    writers_lag_s = fields.Float()
    aggregator_lag_s = fields.Float(allow_none=True, metadata={"description": "Of its last checkpoint; null before it."})


class ProcessHealth(Schema):
    """A process by its last word."""

    name = fields.String()
    age_s = fields.Float()
    facts = fields.Dict()


class HealthFacts(Schema):
    """The pipeline."""

    at = fields.String()
    rate = fields.Float(allow_none=True, metadata={"description": "Ticks stored a second; null at the first look."})
    ticks = fields.Integer()
    bars = fields.Integer()
    late = fields.Integer()
    gaps_open = fields.Integer()
    dead_letters = fields.Integer()
    stream = fields.Nested(StreamHealth)
    last_trade_age_s = fields.Dict(keys=fields.String(), values=fields.Float(), metadata={"description": "By symbol."})
    processes = fields.List(fields.Nested(ProcessHealth))


@blueprint.route("/health/")
class HealthResource(MethodView):
    """The pipeline's health."""

    @blueprint.response(200, HealthFacts)
    def get(self) -> dict[str, Any]:
        """Rate, lag, gaps, dead letters, and the last word of each process"""
        health: Health = current_app.extensions["gems.health"]
        return health.facts()


def register_healthz(app: Flask) -> None:
    """`/healthz`: this process answers; it asks nobody else."""
    app.add_url_rule("/healthz", "healthz", lambda: Response("ok\n", mimetype="text/plain"))
