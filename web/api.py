"""flask-smorest, with our error shape, our way to read bodies, and PostgreSQL's JSON passed through."""

import json
import re
from functools import cache
from typing import Any, NoReturn

import flask_smorest
from flask import Request, Response, current_app
from marshmallow import Schema
from webargs import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from web.errors import ErrorSchema, Problem, bad, handle_http
from web.stores import Stores

#: JSON escapes of them; a body without one has none of them: raw, they are not valid JSON, or not UTF-8.
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Api(flask_smorest.Api):
    """Answers every failure in the shape of `web.errors`."""

    ERROR_SCHEMA = ErrorSchema

    def handle_http_exception(self, error: HTTPException) -> Any:
        """See `web.errors.handle_http`."""
        return handle_http(error)


def declare_keys(api: Api) -> None:
    """Say in the document how a key is shown; only where keys are on. A browser's session is its third way, but no client's."""
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for name, scheme in schemes.items():
        api.spec.components.security_scheme(name, scheme)
    api.spec.options["security"] = [{name: []} for name in schemes]


class Parser(FlaskParser):
    """Bad input is 400, never 422; a body that is not JSON says so itself."""

    DEFAULT_VALIDATION_STATUS = 400

    def _get_schema(self, argmap: Any, req: Request) -> Any:
        """One for all requests: to make it costs as much as all that it reads; it keeps nothing of a request."""
        return _schema_of(argmap) if isinstance(argmap, type) else super()._get_schema(argmap, req)

    def _raw_load_json(self, req: Request) -> Any:
        """No body at all is an empty one: what it lacks is named by its schema."""
        return read_json(req) if req.mimetype or req.get_data() else missing


@cache
def _schema_of(kind: type[Schema]) -> Schema:
    return kind()


class Blueprint(flask_smorest.Blueprint):
    """A group of resources."""

    ARGUMENTS_PARSER = Parser()


class NumberText(str):
    """A JSON number as the client wrote it: prices never pass through a float."""

    __slots__ = ()


def read_json(req: Request, exact: bool = False) -> Any:
    """The body's JSON; `exact` keeps numbers as `NumberText`.

    Raises:
        Problem: 415 if it is not called JSON, 400 if it is none.
        RequestEntityTooLarge: it is longer than this route takes.
    """
    if not req.is_json:
        raise Problem(415, f"the body must be sent as application/json, was {req.mimetype or 'without a type'}")
    numbers: dict[str, Any] = {"parse_int": NumberText, "parse_float": NumberText} if exact else {}
    try:
        text = _whole_body(req).decode("utf-8")
        body = json.loads(text, parse_constant=_refuse_constant, **numbers)
        if _UNSTORABLE_ESCAPE.search(text):
            refuse_unstorable(body, "")
        return body
    except RecursionError:
        raise Problem(400, "the body is nested too deeply", "body") from None
    except ValueError as exc:  # also what is not UTF-8, and whole numbers of thousands of digits
        raise Problem(400, f"the body is not valid JSON: {exc}", "body") from None


def _whole_body(req: Request) -> bytes:
    """The body; without a length (chunked) Werkzeug would end it silently at the limit."""
    body, most = req.get_data(), req.max_content_length
    if req.content_length is None and most is not None and len(body) >= most:
        raise RequestEntityTooLarge
    return body


def refuse_unstorable(value: Any, path: str) -> None:
    """Text that no database stores: NUL, and halves of characters (lone surrogates).

    Raises:
        Problem: 400, naming the field such as `ticks[3].symbol`.
    """
    if isinstance(value, str) and _UNSTORABLE.search(value):
        raise bad(path or "body", f"must be text without NUL and without halves of characters, was {value!a:.80}")
    if isinstance(value, dict):
        for name, inner in value.items():
            refuse_unstorable(name, path)
            refuse_unstorable(inner, f"{path}.{name}".strip("."))
    if isinstance(value, list):
        for number, inner in enumerate(value):
            refuse_unstorable(inner, f"{path}[{number}]")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def stores() -> Stores:
    """The stores of the current app."""
    found: Stores = current_app.extensions["gems.stores"]
    return found


def json_text(text: str, status: int = 200) -> Response:
    """JSON that is already text, as a response."""
    return Response(f"{text}\n", status, mimetype="application/json")
