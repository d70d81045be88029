"""Health: of the web alone, and of the whole pipeline."""

from typing import Any

import orjson
from flask import Flask, Response, current_app, jsonify
from flask.views import MethodView
from marshmallow import Schema, fields

from web.api import Blueprint
from web.errors import answer
from web.health import Health
from web.readiness import Readiness

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


def register_readyz(app: Flask, readiness: Readiness) -> None:
    """`/readyz`: 200 while this instance takes ticks and keeps up with them, else 503 with what is not ready."""
    app.add_url_rule("/readyz", "readyz", lambda: _readyz(readiness.checks()))


def _readyz(checks: dict[str, dict[str, Any]]) -> Response:
    failing = [f"{name}: {check['why']}" for name, check in checks.items() if not check["ready"]]
    if not failing:
        return jsonify({"ready": True, "checks": checks})
    response = answer(503, f"not ready; {'; '.join(failing)}")
    response.set_data(orjson.dumps({**orjson.loads(response.data), "ready": False, "checks": checks}))
    return response
