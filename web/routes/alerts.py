"""Alerts: create, list, look at, edit, delete. The aggregator evaluates them at each bar."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from common.alertkinds import KINDS, SEVERITIES
from common.alertstates import STATUSES, reset
from web.alert_rules import check_series, check_subject, read_condition
from web.api import Blueprint, json_text, stores
from web.errors import NotFound, bad
from web.paging import Cursor, Page
from web.queries.alert_changes import Change, Found, change_alert
from web.queries.alerts import alert_json, delete_alert, followed_series, insert_alert, list_alerts
from web.queries.totals import known_symbols
from web.schemas import Body, PairName, RangeQuery, Stamp, Whole, order_field

blueprint = Blueprint("alerts", __name__, url_prefix="/api/analytics/alerts", description="Alerts")
MAX_ID = 2**63 - 1
_TEXTS: dict[str, Any] = {"required": "is required", "invalid": "must be text", "null": "must be given"}
_OBJECT: dict[str, Any] = {**_TEXTS, "invalid": 'must be an object such as {{"threshold": 2.0}}'}


def severity_field(**given: Any) -> fields.String:
    """info, warning or critical."""
    one_of = validate.OneOf(SEVERITIES, error="must be one of {choices}, was '{input}'")
    return fields.String(validate=one_of, error_messages=_TEXTS, **given)


def note_field(**given: Any) -> fields.String:
    """A text for people, of at most 1,000 characters."""
    plain = validate.Regexp(r"[^\x00]{0,1000}\Z", error="must be text of at most 1000 characters")
    return fields.String(validate=plain, error_messages=_TEXTS, **given)


class AlertBody(Body):
    """An alert to create."""

    alert_type = fields.String(
        required=True, validate=validate.OneOf(KINDS, error="must be one of {choices}, was '{input}'"), error_messages=_TEXTS,
    )  # fmt: skip
    symbol_pair = PairName(required=True, metadata={"description": "A pair Y_X, or a symbol for a single-symbol type."})
    condition = fields.Dict(
        required=True,
        error_messages=_OBJECT,
        metadata={
            "description": "threshold; by type: timeframe, window, method, for_bars, for_s, clear, cooldown_s, repeat_s, once",
            "example": {"threshold": 2.0},
        },
    )
    expires_at = Stamp(load_default=None, metadata={"type": "string", "description": "From then on it is `expired`."})
    severity = severity_field(load_default="warning")
    note = note_field(load_default="")


class AlertEdit(Body):
    """What of an alert is to be another; it begins again."""

    condition = fields.Dict(error_messages=_OBJECT, metadata={"description": "Replaces the whole condition."})
    expires_at = Stamp(allow_none=True, metadata={"type": "string", "description": "null: never."})
    severity = severity_field()
    note = note_field()


class AlertMade(Schema):
    """The alert was stored."""

    id = fields.Integer()
    alert_type = fields.String()
    symbol_pair = fields.String()
    status = fields.String(metadata={"description": "active, triggered, acknowledged, resolved, expired or paused"})
    condition = fields.Dict()
    timeframe = fields.String()
    severity = fields.String()
    note = fields.String()


class Alert(AlertMade):
    """An alert."""

    state = fields.String(metadata={"description": "inactive, pending, firing, acknowledged, resolved, expired or paused"})
    firing = fields.Boolean()
    triggered_at = fields.String(allow_none=True)
    trigger_value = fields.Float(allow_none=True)
    created_at = fields.String()
    updated_at = fields.String()
    expires_at = fields.String(allow_none=True)
    silenced_until = fields.String(allow_none=True)


@blueprint.route("/create/")
class CreateAlertResource(MethodView):
    """Creating."""

    @blueprint.arguments(AlertBody)
    @blueprint.response(201, AlertMade)
    def post(self, body: dict[str, Any]) -> Response:
        """Create an alert"""
        condition = read_condition(body["alert_type"], body["condition"], stores().settings)
        series = followed_series(stores())
        check_subject(body["alert_type"], body["symbol_pair"], series, known_symbols(stores()))
        check_series(body["alert_type"], body["symbol_pair"], condition, series, stores().settings.window)
        alert = {**body, "condition": condition, "timeframe": condition["timeframe"]}
        return json_text(insert_alert(stores(), alert), 201)


class AlertsQuery(RangeQuery):
    """Which alerts; start and end are of their creation."""

    status = fields.String(validate=validate.OneOf(STATUSES, error="must be one of {choices}, was '{input}'"))
    symbol_pair = PairName()
    severity = severity_field()
    alert_type = fields.String(validate=validate.OneOf(KINDS, error="must be one of {choices}, was '{input}'"))
    before = Whole(1, MAX_ID, metadata={"description": "Only alerts with a smaller id: the next page."})
    limit = Whole(1, 10_000, load_default=1000)
    order = order_field("desc")
    cursor = Cursor("alerts", stamped=False)


class Alerts(Page):
    """A list of alerts."""

    alerts = fields.List(fields.Nested(Alert))


@blueprint.route("/")
class AlertsResource(MethodView):
    """Listing."""

    @blueprint.arguments(AlertsQuery, location="query")
    @blueprint.response(200, Alerts)
    def get(self, query: dict[str, Any]) -> Response:
        """Alerts, newest first"""
        return json_text(list_alerts(stores(), query))


@blueprint.route("/<int:alert_id>/")
class AlertResource(MethodView):
    """One alert."""

    @blueprint.response(200, Alert)
    def get(self, alert_id: int) -> Response:
        """An alert as it stands"""
        return one_alert(alert_id)

    @blueprint.arguments(AlertEdit)
    @blueprint.response(200, Alert)
    def patch(self, body: dict[str, Any], alert_id: int) -> Response:
        """Edit an alert; its state begins again"""
        if not body:
            raise bad("body", "must name at least one of condition, expires_at, severity, note")
        series = followed_series(stores()) if "condition" in body else set()

        def decide(found: Found, now_us: int) -> Change:
            columns = dict(body)
            if "condition" in body:
                condition = read_condition(found.alert_type, body["condition"], stores().settings)
                check_series(found.alert_type, found.symbol_pair, condition, series, stores().settings.window)
                columns |= {"condition": condition, "timeframe": condition["timeframe"]}
            details = {"changed": sorted(body), "state": found.now.name}
            return Change("edited", reset_of(found, now_us), details, columns)

        return changed_alert(alert_id, decide)


class Deleted(Schema):
    """It is gone."""

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


def reset_of(found: Found, now_us: int) -> Any:
    """The state an alert begins again with; by the clock, what was silent before does not count twice."""
    return reset(now_us if KINDS[found.alert_type].source == "clock" else None)


def one_alert(alert_id: int) -> Response:
    """An alert as it stands, or 404."""
    text = alert_json(stores(), alert_id)
    if text is None:
        raise NotFound("Alert not found")
    return json_text(text)


def changed_alert(alert_id: int, decide: Any) -> Response:
    """Do a change by hand and answer the alert as it stands then, or 404."""
    if not change_alert(stores(), alert_id, decide):
        raise NotFound("Alert not found")
    return one_alert(alert_id)
