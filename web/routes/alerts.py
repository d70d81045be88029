"""Alerts: create, list, delete. The aggregator evaluates them at each bar."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from web.alert_rules import ALERT_TYPES, checked_condition, checked_subject
from web.api import Blueprint, json_text, stores
from web.errors import NotFound
from web.queries.alerts import delete_alert, insert_alert, list_alerts
from web.queries.totals import known_symbols
from web.schemas import Body, PairName, RangeQuery, Stamp, Whole, order_field

blueprint = Blueprint("alerts", __name__, url_prefix="/api/analytics/alerts", description="Alerts")


class AlertBody(Body):
    """An alert to create."""

    alert_type = fields.String(
        required=True,
        validate=validate.OneOf(ALERT_TYPES, error="must be one of {choices}, was '{input}'"),
        error_messages={"required": "is required", "invalid": "must be text"},
    )
    symbol_pair = PairName(required=True, metadata={"description": "A pair Y_X, or a symbol for a single-symbol type."})
    condition = fields.Dict(
        required=True,
        error_messages={"required": "is required", "invalid": 'must be an object such as {{"threshold": 2.0}}'},
        metadata={"description": "threshold; optional: timeframe, cooldown_s, once", "example": {"threshold": 2.0}},
    )
    expires_at = Stamp(load_default=None, metadata={"type": "string", "description": "From then on it is `expired`."})


class AlertMade(Schema):
    """The alert was stored."""

    id = fields.Integer()
    alert_type = fields.String()
    symbol_pair = fields.String()
    status = fields.String()
    condition = fields.Dict()
    timeframe = fields.String()


@blueprint.route("/create/")
class CreateAlertResource(MethodView):
    """Creating."""

    @blueprint.arguments(AlertBody)
    @blueprint.response(201, AlertMade)
    def post(self, body: dict[str, Any]) -> Response:
        """Create an alert"""
        condition = checked_condition(body["alert_type"], body["condition"], stores().settings)
        checked_subject(body["alert_type"], body["symbol_pair"], stores().settings.pairs, known_symbols(stores()))
        alert = {**body, "condition": condition, "timeframe": condition["timeframe"]}
        return json_text(insert_alert(stores(), alert), 201)


class AlertsQuery(RangeQuery):
    """Which alerts; start and end are of their creation."""

    status = fields.String(validate=validate.Regexp(r"[a-z_]{1,20}\Z", error="must be a status such as active, was '{input}'"))
    symbol_pair = PairName()
    limit = Whole(1, 10_000, load_default=1000)
    order = order_field("desc")


class Alert(AlertMade):
    """An alert."""

    firing = fields.Boolean()
    triggered_at = fields.String(allow_none=True)
    trigger_value = fields.Float(allow_none=True)
    created_at = fields.String()
    expires_at = fields.String(allow_none=True)


class Alerts(Schema):
    """A list of alerts."""

    alerts = fields.List(fields.Nested(Alert))
    count = fields.Integer()


@blueprint.route("/")
class AlertsResource(MethodView):
    """Listing."""

    @blueprint.arguments(AlertsQuery, location="query")
    @blueprint.response(200, Alerts)
    def get(self, query: dict[str, Any]) -> Response:
        """Alerts, newest first"""
        return json_text(list_alerts(stores(), query))


class Deleted(Schema):
    """The alert is gone."""

    status = fields.String(metadata={"example": "deleted"})


@blueprint.route("/<int:alert_id>/delete/")
class DeleteAlertResource(MethodView):
    """Deleting."""

    @blueprint.response(200, Deleted)
    def delete(self, alert_id: int) -> dict[str, str]:
        """Delete an alert"""
        if not delete_alert(stores(), alert_id):
            raise NotFound("Alert not found")
        return {"status": "deleted"}
