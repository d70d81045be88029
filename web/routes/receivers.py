"""Receivers of alerts: create, list, change, delete, try."""

import secrets
from typing import Any

from flask.views import MethodView
from marshmallow import Schema, fields, validate

from common.alertkinds import KINDS as ALERT_TYPES
from common.outbox import SEVERITIES
from common.receivers import KINDS, MAX_URL
from web.api import Blueprint, stores
from web.errors import Conflict, NotFound
from web.paging import Page
from web.queries.deliveries import trial_event, try_receiver
from web.queries.receivers import change_receiver, delete_receiver, insert_receiver, list_receivers
from web.receiver_rules import check_receiver
from web.schemas import Body, PairName

blueprint = Blueprint("receivers", __name__, url_prefix="/api/analytics/alerts/receivers", description="Receivers of alerts")

MAX_ID = 2**31 - 1
_TEXTS: dict[str, Any] = {"required": "is required", "null": "must be given", "invalid": "must be text"}
_ONE_OF = "must be one of {choices}, was '{input}'"


def _text(pattern: str, sentence: str, **kwargs: Any) -> fields.String:
    checked = validate.Regexp(pattern + r"\Z", error=f"must be {sentence}")
    return fields.String(validate=checked, error_messages=_TEXTS, **kwargs)


def _choice(names: tuple[str, ...], **kwargs: Any) -> fields.String:
    return fields.String(validate=validate.OneOf(names, error=_ONE_OF), error_messages=_TEXTS, **kwargs)


def _flag(**kwargs: Any) -> fields.Boolean:
    texts: dict[str, Any] = {"invalid": "must be true or false", "null": "must be given"}
    return fields.Boolean(truthy={True}, falsy={False}, error_messages=texts, **kwargs)


def _list(each: fields.Field[Any], description: str) -> Any:
    texts: dict[str, Any] = {"invalid": "must be a list", "null": "must be a list"}
    few = validate.Length(max=100, error="must have at most {max} entries")
    return fields.List(each, load_default=list, validate=few, error_messages=texts, metadata={"description": description})


class ReceiverChanges(Body):
    """What of a receiver can be changed."""

    name = _text(r"[^\x00-\x1f\x7f]{1,100}", "1 to 100 printable characters", required=True)
    url = fields.String(
        required=True, validate=validate.Length(1, MAX_URL, error="must be 1 to {max} characters"), error_messages=_TEXTS,
        metadata={"description": "http(s)://... of a webhook; for apprise such as mailto://, tgram://, slack://, discord://"},
    )  # fmt: skip
    secret = _text(
        r"[\x21-\x7e]{16,200}", "16 to 200 characters of ASCII without spaces",
        metadata={"description": "Key of a webhook's signature; without one it is made, and told this once."},
    )  # fmt: skip
    template = fields.String(
        load_default="", error_messages=_TEXTS,
        metadata={"description": "Message with {{placeholders}}; empty: the event as JSON, or as lines for apprise."},
    )  # fmt: skip
    min_severity = _choice(SEVERITIES, load_default="info")
    alert_types = _list(_choice(tuple(ALERT_TYPES)), "Only alerts of these types; empty: all.")
    symbol_pairs = _list(PairName(), "Only alerts of these pairs or symbols; empty: all.")
    send_resolved = _flag(load_default=True, metadata={"description": "Tell of the end of an alert, too."})
    enabled = _flag(load_default=True)


class ReceiverBody(ReceiverChanges):
    """A receiver to create."""

    kind = _choice(KINDS, load_default="webhook")


class Receiver(Schema):
    """A receiver; its URL is masked."""

    id = fields.Integer()
    name = fields.String()
    kind = fields.String()
    url = fields.String(metadata={"example": "https://hooks.example.com/***"})
    secret = fields.String(metadata={"description": "Only in the answer that creates a webhook."})
    template = fields.String()
    min_severity = fields.String()
    alert_types = fields.List(fields.String())
    symbol_pairs = fields.List(fields.String())
    send_resolved = fields.Boolean()
    enabled = fields.Boolean()
    created_at = fields.String()
    updated_at = fields.String()
    waiting = fields.Integer(metadata={"description": "Deliveries that wait."})
    dead = fields.Integer(metadata={"description": "Deliveries that were given up."})


class Receivers(Page):
    """A list of receivers."""

    receivers = fields.List(fields.Nested(Receiver))


@blueprint.route("/")
class ReceiversResource(MethodView):
    """All receivers."""

    @blueprint.response(200, Receivers)
    def get(self) -> dict[str, Any]:
        """Receivers of alerts"""
        found = list_receivers(stores())
        return {"receivers": found, "count": len(found), "complete": True, "next_cursor": None}

    @blueprint.arguments(ReceiverBody)
    @blueprint.response(201, Receiver)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a receiver of alerts"""
        check_receiver(body["kind"], body, stores().settings.notify_private)
        secret = (body.get("secret") or secrets.token_urlsafe(32)) if body["kind"] == "webhook" else ""
        made = insert_receiver(stores(), {**body, "secret": secret})
        return {**made, "secret": secret} if secret else made


@blueprint.route("/<int:receiver_id>/")
class ReceiverResource(MethodView):
    """One receiver."""

    @blueprint.response(200, Receiver)
    def get(self, receiver_id: int) -> dict[str, Any]:
        """A receiver of alerts"""
        return existing(receiver_id)

    @blueprint.arguments(ReceiverChanges(partial=True))
    @blueprint.response(200, Receiver)
    def patch(self, body: dict[str, Any], receiver_id: int) -> dict[str, Any]:
        """Change a receiver; disabled, it ends what waits for it"""
        check_receiver(existing(receiver_id)["kind"], body, stores().settings.notify_private)
        changed = change_receiver(stores(), receiver_id, body)
        if not changed:
            raise NotFound("Receiver not found")
        return changed

    @blueprint.response(204)
    def delete(self, receiver_id: int) -> None:
        """Delete a receiver, and end what waits for it"""
        existing(receiver_id)
        delete_receiver(stores(), receiver_id)


class Trial(Schema):
    """A trial is on its way."""

    deliveries = fields.List(fields.Integer(), metadata={"description": "See GET /api/analytics/alerts/deliveries/"})


@blueprint.route("/<int:receiver_id>/test/")
class TestReceiverResource(MethodView):
    """Trying a receiver."""

    @blueprint.response(202, Trial)
    def post(self, receiver_id: int) -> dict[str, Any]:
        """Send a trial to a receiver"""
        existing(receiver_id)
        sample = {"id": None, "alert_type": "trial", "symbol_pair": "", "timeframe": None, "status": "active",
                  "severity": "info", "note": "", "threshold": None}  # fmt: skip
        queued = try_receiver(stores(), receiver_id, trial_event(sample))
        if not queued:
            raise Conflict("the receiver is disabled")
        return {"deliveries": queued}


def existing(receiver_id: int) -> dict[str, Any]:
    """The receiver, or 404."""
    found = list_receivers(stores(), receiver_id) if receiver_id <= MAX_ID else []
    if not found:
        raise NotFound("Receiver not found")
    return found[0]
