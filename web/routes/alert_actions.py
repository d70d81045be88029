"""What people do to an alert that is there: acknowledge, pause, resume; and its history."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from common.alertstates import TRANSITIONS, acknowledged, paused
from web.api import Blueprint, json_text, stores
from web.caching import range_json
from web.errors import Conflict, NotFound
from web.exporting import FILES_TOO, asked_as_file, list_format
from web.paging import Cursor, Page
from web.queries.alert_changes import Change, Found
from web.queries.alerts import list_events
from web.routes.alerts import MAX_ID, Alert, changed_alert, note_field, reset_of, severity_field
from web.schemas import Body, PairName, RangeQuery, Whole, order_field

blueprint = Blueprint("alert_actions", __name__, url_prefix="/api/analytics/alerts", description="Alerts by hand; history")


class ActionBody(Body):
    """Why, for whoever reads the history."""

    note = note_field(load_default="")


def _details(body: dict[str, Any], found: Found) -> dict[str, Any]:
    return {"state": found.now.name, **({"note": body["note"]} if body["note"] else {})}


def _refused(found: Found, what: str) -> Conflict:
    return Conflict(f"alert {found.id} {what}: its state is {found.now.name}")


@blueprint.route("/<int:alert_id>/ack/")
class AckResource(MethodView):
    """Acknowledging."""

    @blueprint.arguments(ActionBody, required=False)
    @blueprint.response(200, Alert)
    def post(self, body: dict[str, Any], alert_id: int) -> Response:
        """Acknowledge an alert that fires: it repeats itself no more until it is over"""

        def decide(found: Found, now_us: int) -> Change:
            state = acknowledged(found.now)
            if state is None:
                raise _refused(found, "does not fire")
            return Change("acknowledged", state, _details(body, found))

        return changed_alert(alert_id, decide)


@blueprint.route("/<int:alert_id>/pause/")
class PauseResource(MethodView):
    """Pausing."""

    @blueprint.arguments(ActionBody, required=False)
    @blueprint.response(200, Alert)
    def post(self, body: dict[str, Any], alert_id: int) -> Response:
        """Pause an alert: nothing is looked at until it is resumed"""

        def decide(found: Found, now_us: int) -> Change:
            state = paused(found.now, found.once)
            if state is None:
                raise _refused(found, "can not be paused")
            return Change("paused", state, _details(body, found))

        return changed_alert(alert_id, decide)


@blueprint.route("/<int:alert_id>/resume/")
class ResumeResource(MethodView):
    """Resuming."""

    @blueprint.arguments(ActionBody, required=False)
    @blueprint.response(200, Alert)
    def post(self, body: dict[str, Any], alert_id: int) -> Response:
        """Resume a paused alert: it begins again with the next bar"""

        def decide(found: Found, now_us: int) -> Change:
            if found.now.name != "paused":
                raise _refused(found, "is not paused")
            return Change("resumed", reset_of(found, now_us), _details(body, found))

        return changed_alert(alert_id, decide)


class EventFilters(Schema):
    """What events are narrowed by; mixed into queries."""

    symbol_pair = PairName()
    severity = severity_field()
    transition = fields.String(validate=validate.OneOf(TRANSITIONS, error="must be one of {choices}, was '{input}'"))


class AlertEventsQuery(EventFilters, RangeQuery):
    """Which events; start and end are of the bars they are of."""

    before = Whole(1, MAX_ID, metadata={"description": "Only events with a smaller event_id: the next page."})
    order = order_field("desc")
    cursor = Cursor("events", stamped=False)
    format = list_format()


class AlertEvent(Schema):
    """A transition of an alert, with the values that caused it."""

    event_id = fields.Integer()
    id = fields.Integer(metadata={"description": "The alert's."})
    alert_type = fields.String()
    symbol_pair = fields.String()
    timeframe = fields.String()
    transition = fields.String(metadata={"description": ", ".join(TRANSITIONS)})
    timestamp = fields.String()
    value = fields.Float(allow_none=True)
    details = fields.Dict()
    silenced = fields.Boolean()
    created_at = fields.String()


class AlertEvents(Page):
    """A part of the history."""

    events = fields.List(fields.Nested(AlertEvent))


@blueprint.route("/events/")
class EventsResource(MethodView):
    """History."""

    @blueprint.arguments(AlertEventsQuery, location="query")
    @blueprint.response(200, AlertEvents)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any]) -> Response:
        """Events of all alerts, newest first; also of deleted ones"""
        return asked_as_file("alert-events", query) or range_json(list_events(stores(), query), query)


@blueprint.route("/<int:alert_id>/events/")
class AlertEventsResource(MethodView):
    """History of one."""

    @blueprint.arguments(AlertEventsQuery, location="query")
    @blueprint.response(200, AlertEvents)
    @blueprint.doc(**FILES_TOO)
    def get(self, query: dict[str, Any], alert_id: int) -> Response:
        """Events of one alert, newest first; also of a deleted one"""
        if alert_id > MAX_ID or stores().row("SELECT 1 FROM alerts WHERE id = %(id)s", {"id": alert_id}) is None:
            raise NotFound("Alert not found")
        query["alert_id"] = alert_id
        return asked_as_file("alert-events", query) or json_text(list_events(stores(), query))
