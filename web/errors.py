"""Every failure has one shape: `{"error": sentence, "field"?: name, "errors"?: {field: sentence}, "status": code}`.

400 bad input (also what other frameworks answer 422), 404, 405, 409 conflict, 413 too large, 415 wrong media type,
503 with Retry-After while PostgreSQL or Redis is away. 500 is our bug; it is logged, and its cause is not shown.
"""

import errno
from collections.abc import Mapping
from typing import Any

import psycopg2
import redis
from flask import Flask, Response, jsonify, request
from marshmallow import Schema, fields
from psycopg2 import errorcodes
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import ClientDisconnected, HTTPException

from common.database import transient
from common.errors import InvalidTrade, SourceConflict, StoreUnavailable
from common.log import get_logger
from common.streams import TRANSIENT
from web.binance.errors import BINANCE_CODES, BINANCE_PATHS, UNKNOWN

RETRY_AFTER_S = 2
_HEADERS_KEPT = ("allow", "retry-after", "www-authenticate")

log = get_logger(__name__)


class ErrorSchema(Schema):
    """What every failure looks like; made by `answer`."""

    error = fields.String(required=True, metadata={"description": "A sentence: what is wrong, and with which value."})
    field = fields.String(metadata={"description": "The field at fault, such as `limit` or `ticks[3].price`."})
    errors = fields.Dict(metadata={"description": "All fields at fault, with a sentence each."})
    status = fields.Integer(required=True, metadata={"description": "The HTTP status."})


class Problem(HTTPException):
    """A failure with its status, sentence and field."""

    def __init__(self, status: int, sentence: str, field: str | None = None, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.field, self.errors = status, sentence, field, errors


class Conflict(Problem):
    """409: the request contradicts what is already there."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(409, sentence, field)


class NotFound(Problem):
    """404 with a sentence of its own."""

    def __init__(self, sentence: str) -> None:
        super().__init__(404, sentence)


def bad(field: str, reason: str) -> Problem:
    """400 for a field: `bad("limit", "must be above 0, was -1")`."""
    return Problem(400, f"{field} {reason}", field, {field: reason})


def answer(status: int, sentence: str, field: str | None = None, errors: Mapping[str, str] | None = None) -> Response:
    """The response of a failure."""
    payload: dict[str, Any] = {"error": sentence, "status": status}
    if request.path.startswith(BINANCE_PATHS):  # a client of Binance's reads these two
        payload = {"code": BINANCE_CODES.get(status, UNKNOWN), "msg": sentence, **payload}
    if field:
        payload["field"] = field
    if errors:
        payload["errors"] = dict(errors)
    response = jsonify(payload)
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def flatten(messages: Any, path: str = "") -> dict[str, str]:
    """marshmallow's nested messages as `{"condition.threshold": "is required"}`.

    >>> flatten({"condition": {"threshold": ["is required"]}})
    {'condition.threshold': 'is required'}
    """
    if not isinstance(messages, Mapping):
        return {path or "body": " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)}
    flat: dict[str, str] = {}
    for name, inner in messages.items():
        deeper = path if name == "_schema" else f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".strip(".")
        flat.update(flatten(inner, deeper))
    return flat


def handle_http(error: HTTPException) -> Response | HTTPException:
    """Any HTTPException; redirects pass as they are."""
    status = error.code or 500
    if status < 400:
        return error
    if isinstance(error, Problem):
        response = answer(status, error.sentence, error.field, error.errors)
    elif "messages" in (getattr(error, "data", None) or {}):
        response = _validation(status, error)
    else:
        response = answer(status, _sentence(status, error))
    kept = [(name, value) for name, value in error.get_headers() if name.lower() in _HEADERS_KEPT]
    response.headers.update(dict(kept))
    return response


def _validation(status: int, error: HTTPException) -> Response:
    """What webargs says: messages by location, then by field."""
    by_location: Mapping[str, Any] = error.data["messages"]  # type: ignore[attr-defined]
    errors: dict[str, str] = {}
    for messages in by_location.values():
        errors.update(flatten(messages))
    field, reason = next(iter(errors.items()))
    return answer(status, f"{field} {reason}", field, errors)


def _sentence(status: int, error: HTTPException) -> str:
    if isinstance(error, ClientDisconnected):
        return "the body did not come as a whole, or came too slowly"
    if status == 404:
        return f"there is nothing at {request.path}"
    if status == 405:
        taken = sorted({*(getattr(error, "valid_methods", None) or ())} - {"HEAD", "OPTIONS"})
        return f"{request.path} does not take {request.method}" + (f"; it takes {', '.join(taken)}" if taken else "")
    if status == 413:
        return "the request is larger than this route takes"
    if status == 500:
        return "something went wrong here; the log of the web says what"
    return str(error.description or error.name)


def handle_database(error: psycopg2.Error) -> Response:
    """503 for what passes by itself; anything else is a bug."""
    if error.pgcode == errorcodes.QUERY_CANCELED:
        return answer(503, "PostgreSQL took too long for this request; ask for less or try again")
    if error.pgcode == errorcodes.UNDEFINED_TABLE:
        return answer(503, "the tables are not made yet; try again soon")
    if transient(error):
        log.warning("PostgreSQL is away: %s; answered 503", str(error).strip().splitlines()[:1])
        return answer(503, "PostgreSQL can not be reached now; try again soon")
    log.error("%s %s failed in PostgreSQL", request.method, request.path, exc_info=error)
    return answer(500, "something went wrong here; the log of the web says what")


def handle_redis(error: redis.RedisError) -> Response:
    """503 while Redis is away, full, loading or can not write its file."""
    if isinstance(error, redis.OutOfMemoryError):
        return answer(503, "Redis is full and takes nothing now; try again soon")
    cause = str(error).rpartition("caused error: ")[2]  # a pipeline names the command first
    if cause.startswith("MISCONF"):
        log.warning("Redis takes nothing: %.200s; answered 503", cause)
        return answer(503, "Redis can not write its file now; try again soon")
    if isinstance(error, TRANSIENT) or cause.startswith(("CLUSTERDOWN", "TRYAGAIN")):
        log.warning("Redis is away: %.200s; answered 503", cause)
        return answer(503, "Redis can not be reached now; try again soon")
    log.error("%s %s failed in Redis", request.method, request.path, exc_info=error)
    return answer(500, "something went wrong here; the log of the web says what")


def handle_disk(error: OSError) -> Response:
    """507 for a full disk; anything else is a bug."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return answer(507, "the disk is full; nothing was stored")
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return answer(500, "something went wrong here; the log of the web says what")


def register_errors(app: Flask) -> None:
    """Give the app its handlers; flask-smorest hands over every HTTPException by itself."""
    app.register_error_handler(psycopg2.Error, handle_database)
    app.register_error_handler(redis.RedisError, handle_redis)
    app.register_error_handler(OSError, handle_disk)
    app.register_error_handler(PoolTimeout, lambda error: answer(503, "too many requests wait for PostgreSQL; try again soon"))
    app.register_error_handler(StoreUnavailable, lambda error: answer(503, str(error)))
    app.register_error_handler(SourceConflict, lambda error: answer(409, str(error), "source"))
    app.register_error_handler(InvalidTrade, lambda error: answer(400, str(error), error.field))
