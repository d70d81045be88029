"""What a receiver is sent: the event as JSON, or a template of the user's own with `{{placeholders}}`.

A placeholder is a name and nothing else: no expressions, no loops, so that a template can neither run nor grow.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from common.errors import ReceiverRejected
from common.outbox import EVENT_KEYS, message_body

MAX_TEMPLATE = 8000
#: No message is longer: a template may name a long note many times.
MAX_MESSAGE = 64_000
JSON_TYPE, TEXT_TYPE = "application/json", "text/plain; charset=utf-8"
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]{0,80}?)\s*\}\}")
_IN_DETAILS = re.compile(r"details(\.[A-Za-z0-9_]+){1,3}")
_NAMES = ("version", "trial", *EVENT_KEYS)
#: An event as any other, to try a template on.
SAMPLE = message_body(
    {
        "event_id": 1, "id": 1, "alert_type": "zscore_high", "symbol_pair": "BTCUSDT_ETHUSDT", "timeframe": "1m",
        "transition": "triggered", "status": "triggered", "severity": "warning", "note": 'a "note"',
        "timestamp": "2026-01-15T12:00:00.000000Z", "value": 2.5, "threshold": 2.0, "details": {},
    },
    trial=True,
)  # fmt: skip


class Message(NamedTuple):
    """What goes over the wire."""

    content_type: str
    text: str


def check_template(template: str) -> None:
    """Let a template pass, or raise.

    Raises:
        ReceiverRejected: too long, an unknown placeholder, or it begins like JSON and does not become JSON.
    """
    if len(template) > MAX_TEMPLATE:
        raise ReceiverRejected(f"must be at most {MAX_TEMPLATE} characters")
    if "\0" in template:
        raise ReceiverRejected("must not hold NUL characters")
    for found in _PLACEHOLDER.finditer(template):
        if found[1] not in _NAMES and not _IN_DETAILS.fullmatch(found[1]):
            raise ReceiverRejected(f"has the unknown placeholder {found[0]}; there are {', '.join(_NAMES)}, details.<name>")
    try:
        if _wants_json(template):
            orjson.loads(render(template, SAMPLE).text)
    except orjson.JSONDecodeError as exc:
        raise ReceiverRejected(f"begins like JSON, but filled in it is none: {exc}") from exc


def render(template: str, body: Mapping[str, Any]) -> Message:
    """The message of an event; what the event does not have is null in JSON, empty in text and within quotes."""
    if not template:
        return Message(JSON_TYPE, orjson.dumps(body).decode())
    wants_json = _wants_json(template)
    pieces, end, quoted = [], 0, False
    for found in _PLACEHOLDER.finditer(template):
        before = template[end : found.start()]
        quoted, end = _quoted_after(before, quoted), found.end()
        value = _look_up(body, found[1])
        pieces += [before, _in_json(value, quoted) if wants_json else _as_text(value)]
    text = "".join(pieces) + template[end:]
    if not wants_json:
        return Message(TEXT_TYPE, text[:MAX_MESSAGE])
    return Message(JSON_TYPE, text) if len(text) <= MAX_MESSAGE else render("", body)  # cut JSON would be none


def headline(body: Mapping[str, Any]) -> str:
    """One line for people: `[warning] zscore_high BTCUSDT_ETHUSDT 1m: triggered`."""
    trial = "Trial: " if body.get("trial") else ""
    subject = " ".join(str(body[key]) for key in ("alert_type", "symbol_pair", "timeframe") if body.get(key))
    return f"{trial}[{body.get('severity')}] {subject}: {body.get('transition')}"


def plain_text(body: Mapping[str, Any]) -> str:
    """The event for people: a line each of what it has."""
    shown = ("value", "threshold", "timestamp", "note")
    lines = [f"{key}: {_as_text(body[key])}" for key in shown if body.get(key) not in (None, "")]
    return "\n".join([*lines, f"event {body['event_id']}" if body.get("event_id") is not None else "a trial"])


def _wants_json(template: str) -> bool:
    return template.lstrip().startswith(("{", "[")) and not template.lstrip().startswith("{{")


def _quoted_after(text: str, quoted: bool) -> bool:
    """Is what follows this piece of JSON inside a string?"""
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted = not quoted
    return quoted


def _look_up(body: Mapping[str, Any], name: str) -> Any:
    found: Any = body
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _in_json(value: Any, quoted: bool) -> str:
    return orjson.dumps(_as_text(value)).decode()[1:-1] if quoted else orjson.dumps(value).decode()


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
