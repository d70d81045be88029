"""Deliveries of alerts: what became of each, retries, and trials of an alert."""

from typing import Any

from flask import Response
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from web.api import Blueprint, json_text, stores
from web.errors import Conflict, NotFound
from web.paging import Cursor, Page
from web.queries.deliveries import delivery_state, list_deliveries, retry_dead, retry_delivery, try_alert
from web.routes.receivers import MAX_ID, Trial, existing
from web.schemas import Body, Whole

blueprint = Blueprint("deliveries", __name__, url_prefix="/api/analytics/alerts", description="Deliveries of alerts")

MAX_BIG_ID = 2**63 - 1
STATES = ("waiting", "delivered", "dead", "ended")


class DeliveriesQuery(Body):
    """Which deliveries."""

    state = fields.String(validate=validate.OneOf(STATES, error="must be one of {choices}, was '{input}'"))
    receiver_id = Whole(1, MAX_ID)
    alert_id = Whole(1, MAX_BIG_ID)
    before = Whole(1, MAX_BIG_ID, metadata={"description": "Only deliveries with a smaller id."})
    limit = Whole(1, 1000, load_default=100)
    cursor = Cursor("deliveries", stamped=False)


class Delivery(Schema):
    """An event on its way to a receiver."""

    id = fields.Integer()
    receiver_id = fields.Integer()
    receiver = fields.String()
    event_id = fields.String(metadata={"description": "X-Gems-Event-Id: the event's id, or trial-<uuid>"})
    alert_id = fields.Integer(allow_none=True)
    trial = fields.Boolean()
    state = fields.String(metadata={"description": "waiting, delivered, dead (given up) or ended (receiver disabled or deleted)"})
    attempts = fields.Integer()
    next_at = fields.String(metadata={"description": "The next attempt of one that waits."})
    last_error = fields.String()
    created_at = fields.String()
    finished_at = fields.String(allow_none=True)
    body = fields.Dict()


class Deliveries(Page):
    """A page of deliveries."""

    deliveries = fields.List(fields.Nested(Delivery))


@blueprint.route("/deliveries/")
class DeliveriesResource(MethodView):
    """All deliveries."""

    @blueprint.arguments(DeliveriesQuery, location="query")
    @blueprint.response(200, Deliveries)
    def get(self, query: dict[str, Any]) -> Response:
        """Deliveries, newest first"""
        return json_text(list_deliveries(stores(), query))


class RetryBody(Body):
    """Whose dead deliveries."""

    receiver_id = Whole(1, MAX_ID, load_default=None, allow_none=True)


class Retried(Schema):
    """They wait again."""

    retried = fields.Integer()


@blueprint.route("/deliveries/retry/")
class RetryDeadResource(MethodView):
    """Retrying what is dead."""

    @blueprint.arguments(RetryBody)
    @blueprint.response(202, Retried)
    def post(self, body: dict[str, Any]) -> dict[str, int]:
        """Try all dead deliveries again, of one receiver or of all"""
        if body["receiver_id"] is not None:
            existing(body["receiver_id"])
        return {"retried": retry_dead(stores(), body["receiver_id"])}


@blueprint.route("/deliveries/<int:delivery_id>/retry/")
class RetryResource(MethodView):
    """Retrying one."""

    @blueprint.response(202, Retried)
    def post(self, delivery_id: int) -> dict[str, int]:
        """Try a delivery again that is dead or ended"""
        state = delivery_state(stores(), delivery_id) if delivery_id <= MAX_BIG_ID else None
        if state is None:
            raise NotFound("Delivery not found")
        if state not in ("dead", "ended"):
            raise Conflict(f"the delivery is {state}")
        if not retry_delivery(stores(), delivery_id):
            raise Conflict("the receiver of the delivery is disabled or deleted")
        return {"retried": 1}


@blueprint.route("/<int:alert_id>/test/")
class TestAlertResource(MethodView):
    """Trying an alert."""

    @blueprint.response(202, Trial)
    def post(self, alert_id: int) -> dict[str, Any]:
        """Send a trial of an alert to all receivers that it would reach"""
        queued = try_alert(stores(), alert_id) if alert_id <= MAX_BIG_ID else None
        if queued is None:
            raise NotFound("Alert not found")
        if not queued:
            raise Conflict("no enabled receiver takes events of this alert")
        return {"deliveries": queued}
