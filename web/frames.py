"""Events as a client reads them, and which of them it wants. Pure."""

from typing import Any, NamedTuple

import orjson

from common.log import get_logger
from common.streams import LIVE, EntryId

#: What a client asks for -> how the names of its events begin (`bar` covers `bar.open` and `bar.revised`).
KIND_BY_TOPIC = {"bars": "bar", "spread": "spread", "alerts": "alert", "stats": "stats", "ticks": "tick", "health": "health"}
_WITH_TIMEFRAME = ("bar", "spread", "stats")

log = get_logger(__name__)


class Frame(NamedTuple):
    """One event, ready to send, and what filters look at."""

    id: EntryId | None
    kind: str  # of the event, before its first dot
    subject: str  # a symbol or a pair; empty where it is about neither
    timeframe: str
    text: bytes


class Filter(NamedTuple):
    """What a client wants; empty sets want everything."""

    kinds: frozenset[str]
    symbols: frozenset[str]
    timeframes: frozenset[str]

    def wants(self, frame: Frame) -> bool:
        """True if the client is to get the frame. An alert comes whatever the timeframe."""
        if self.kinds and frame.kind not in self.kinds:
            return False
        if self.timeframes and frame.kind in _WITH_TIMEFRAME and frame.timeframe not in self.timeframes:
            return False
        return not (self.symbols and frame.subject) or _is_about(frame.subject, self.symbols)


def _is_about(subject: str, symbols: frozenset[str]) -> bool:
    """True for the symbol or pair itself, and for a pair that a symbol is a leg of."""
    return subject in symbols or any(subject.startswith(f"{leg}_") or subject.endswith(f"_{leg}") for leg in symbols)


def to_frame(raw_id: bytes, fields: dict[bytes, bytes] | None) -> Frame:
    """The frame of an entry of `live`."""
    fields = fields or {}
    event, body_text = fields.get(b"event", b"message").decode(), fields.get(b"data", b"{}").replace(b"\n", b" ")
    body = orjson.loads(body_text)
    subject = body.get("symbol_pair") or body.get("symbol") or ""
    text = b"id: %b\nevent: %b\ndata: %b\n\n" % (raw_id, event.encode(), body_text)
    return Frame(EntryId.parse(raw_id), event.partition(".")[0], subject, body.get("timeframe") or "", text)


def named_frame(event: str, body: dict[str, Any], at: EntryId | None = None) -> Frame:
    """A frame that the web makes itself; only with `at` does it move the client's position."""
    head = f"id: {at}\n".encode() if at else b""
    return Frame(None, event, "", "", head + b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(body)))


def dropped() -> Frame:
    """The last event of a client that fell too far behind."""
    return named_frame("dropped", {"reason": "this client reads too slowly; reconnect to go on from its last id"})


def readable(raw_id: bytes, fields: dict[bytes, bytes] | None) -> Frame | None:
    """The frame of an entry; None, and a log line, where somebody else's hand put another thing there."""
    try:
        return to_frame(raw_id, fields)
    except (ValueError, AttributeError):
        log.warning("entry %s of %s is not an event; left out", raw_id.decode(), LIVE)
        return None
