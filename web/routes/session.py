"""A browser's session: it shows its key once and gets a cookie, which EventSource sends too."""

import time
from typing import Any

from flask import Response, current_app, jsonify, request
from flask.views import MethodView
from marshmallow import Schema, fields, validate

from web.access import COOKIE, Unknown, current_key, keyring, session_secret
from web.api import Blueprint
from web.errors import Conflict
from web.schemas import Body
from web.sessions import LASTS_S, session_token

blueprint = Blueprint("session", __name__, url_prefix="/api", description="A browser's session")
_TEXTS: dict[str, Any] = {"required": "is required", "null": "must be given", "invalid": "must be text"}


class SessionBody(Body):
    """The key to open it with."""

    key = fields.String(
        required=True, validate=validate.Length(1, 200, error="must be 1 to {max} characters"), error_messages=_TEXTS,
    )  # fmt: skip


class Session(Schema):
    """Whose session it is."""

    keys = fields.String(metadata={"description": "on, or off: nobody is asked for one."})
    name = fields.String(allow_none=True, metadata={"description": "The key's; null: none that opens anything was shown."})
    scope = fields.String(allow_none=True)


@blueprint.route("/session/")
class SessionResource(MethodView):
    """The session."""

    @blueprint.doc(security=[])
    @blueprint.response(200, Session)
    def get(self) -> dict[str, Any]:
        """Whether keys are asked for, and which one this request shows"""
        key = current_key()
        on = "gems.keyring" in current_app.extensions
        return {"keys": "on" if on else "off", "name": key and key.name, "scope": key and key.scope}

    @blueprint.doc(security=[])
    @blueprint.arguments(SessionBody)
    @blueprint.response(200, Session)
    @blueprint.alt_response(409, description="Keys are off.")
    def post(self, body: dict[str, Any]) -> Response:
        """Show a key, and get a cookie that stands for it"""
        if "gems.keyring" not in current_app.extensions:
            raise Conflict("keys are off (GEMS_API_KEYS): everything is open without a session")
        key = keyring().find(body["key"].strip())
        if key is None:
            raise Unknown("this key opens nothing: it is unknown or revoked")
        response = jsonify({"keys": "on", "name": key.name, "scope": key.scope})
        token = session_token(session_secret(), key, int(time.time()) + LASTS_S)
        response.set_cookie(COOKIE, token, max_age=LASTS_S, path="/", httponly=True, samesite="Strict", secure=request.is_secure)
        return response

    @blueprint.doc(security=[])
    @blueprint.response(204)
    def delete(self) -> Response:
        """End the session in this browser"""
        response = Response(status=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=request.is_secure)
        return response
