"""`GET /api/stream`: what has just happened, as server-sent events."""

import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Response, current_app, request
from flask.views import MethodView
from marshmallow import ValidationError, fields

from common.streams import EntryId
from common.timeframes import TIMEFRAMES_S
from web.access import lost_key
from web.api import Blueprint, stores
from web.carrier import HANDS_OVER, Handed
from web.clients import Client
from web.errors import Problem, bad
from web.frames import KIND_BY_TOPIC, Filter
from web.listening import Primed, hung_up, listen
from web.live import Hub
from web.schemas import Body

_ID = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?", re.ASCII)
_JOIN_S = 3.0
blueprint = Blueprint("stream", __name__, url_prefix="/api", description="Live events")


class Names(fields.String):
    """Names with commas between, as a frozen set."""

    def __init__(self, known: tuple[str, ...] = (), **kwargs: Any) -> None:
        self.known = known
        super().__init__(load_default=frozenset(), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        names = frozenset(name.strip() for name in str(value).split(",") if name.strip())
        for name in sorted(names) if self.known else ():
            if name not in self.known:
                raise ValidationError(f"must be of {', '.join(self.known)}, was {name[:60]!r}")
        return names


class StreamQuery(Body):
    """Which events; without a filter all."""

    topics = Names(tuple(KIND_BY_TOPIC), metadata={"description": f"Of {', '.join(KIND_BY_TOPIC)}."})
    symbols = Names(metadata={"description": "Symbols or pairs; a symbol also brings the pairs it is a leg of."})
    timeframe = Names(tuple(TIMEFRAMES_S), metadata={"description": "Timeframes of bars, pair rows and statistics."})
    since = fields.String(metadata={"description": "As Last-Event-ID, for clients that can't send it; 0: all that is kept."})


@blueprint.route("/stream")
class StreamResource(MethodView):
    """Live events."""

    @blueprint.arguments(StreamQuery, location="query")
    @blueprint.doc(parameters=[{"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}}])
    @blueprint.response(200, content_type="text/event-stream")
    def get(self, query: dict[str, Any]) -> Response:
        """Live events: bar, bar.open, bar.revised, spread, spread.revised, stats, alert, tick, health"""
        if "ticks" in query["topics"] and stores().settings.live_ticks == "off":
            raise bad("topics", "has ticks, which are told where GEMS starts with GEMS_LIVE_TICKS=on, was 'ticks'")
        kinds = frozenset(KIND_BY_TOPIC[topic] for topic in query["topics"])
        wanted = Filter(kinds, frozenset(map(str.upper, query["symbols"])), query["timeframe"])
        since = _since(query.get("since"))
        return _streamed(current_app.extensions["gems.hub"], wanted, since)


def _since(parameter: str | None) -> EntryId | None:
    """The header wins: a browser that reconnects sends it beside the same address."""
    name, text = "Last-Event-ID", request.headers.get("Last-Event-ID")
    if not text:
        name, text = "since", parameter
    if not text:
        return None
    found = _ID.fullmatch(text)
    if not found or int(found[1]) >= 2**63:
        raise bad(name, f"must be an event's id such as 1700000000000-0, was {text[:60]!r}")
    return EntryId(int(found[1]), int(found[2] or 0))


def _streamed(hub: Hub, wanted: Filter, since: EntryId | None) -> Response:
    stores().redis.ping()
    if not hub.enter():
        raise Problem(503, f"all {hub.capacity} live streams are taken; try again later")
    if not hub.wait_known(_JOIN_S):
        hub.leave()
        raise Problem(503, "Redis can not be reached now; try again soon")
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    has_lost_key, carry = lost_key(), None
    if connection and request.environ.get(HANDS_OVER):
        carry = partial(_carry, hub, connection, request.environ["SERVER_PROTOCOL"] == "HTTP/1.1", has_lost_key)
    frames = Primed(listen(hub, stores().redis, wanted, since, lambda: hung_up(connection) or has_lost_key(), carry))
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return Response(frames, mimetype="text/event-stream", headers=headers)


def _carry(
    hub: Hub, connection: socket.socket, chunked: bool, lost: Callable[[], bool], client: Client, left: Callable[[], None]
) -> None:
    """From here on the response is the carrier's; the server's socket object is left without a connection."""
    own = socket.socket(connection.family, connection.type, connection.proto, connection.detach())
    hub.carrier.take(Handed(client, own, chunked, lost, left))
