"""One client's event stream: what it missed, then the tail, with heartbeats between."""

import queue
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import redis

from common.streams import LIVE, START, EntryId
from web.live import HEARTBEAT_S, Client, Filter, Frame, Hub, missed, named_frame, newest_id

_RETRY_MS = 1000
HEARTBEAT = b": heartbeat\n\n"


class Primed:
    """Frames whose first one is already there: a fault before it is still an answer of its own, and `close` always
    reaches the generator, which a generator that was never started would not notice."""

    def __init__(self, frames: Generator[bytes, None, None]) -> None:
        self._frames = frames
        self._all = chain((next(frames),), frames)

    def __iter__(self) -> Iterator[bytes]:
        return self._all

    def close(self) -> None:
        """Called at the end of the response, however it ends."""
        self._frames.close()


def listen(hub: Hub, store: redis.Redis, wanted: Filter, since: EntryId | None) -> Generator[bytes, None, None]:
    """Frames for one client, until it goes, falls behind, or the web stops. The caller has taken a place in the hub."""
    client = Client(wanted)
    try:
        yield from _until_joined(hub, store, client, since)
        yield from _tail(client, hub)
    finally:
        hub.drop(client)
        hub.leave()


def too_old(store: redis.Redis, since: EntryId) -> str | None:
    """Why a resume from this id would have a hole, or None. `0` asks for all there is, and so never has one."""
    if since == START:
        return None
    if since > newest_id(store):
        return "the stream of events began anew"
    first: Any = store.xrange(LIVE, count=1)
    if first and since < EntryId.parse(first[0][0]):
        return "the events since then are no longer kept"
    return None


def _until_joined(hub: Hub, store: redis.Redis, client: Client, since: EntryId | None) -> Iterator[bytes]:
    reason = too_old(store, since) if since else None
    if since is None or reason:
        position = hub.join(client)
        yield f"retry: {_RETRY_MS}\nid: {position}\n\n".encode()
        if reason:
            yield named_frame("reset", {"reason": f"{reason}; load again by REST"}, position).text
        return
    yield f"retry: {_RETRY_MS}\nid: {since}\n\n".encode()
    # Most of it is read before joining, so that a long way back can not fill the queue.
    reached = since
    for at, frame in missed(store, since):
        reached = at
        yield from _if_wanted(client, frame)
    position = hub.join(client)
    client.seen = max(reached, position)
    for _, frame in missed(store, reached, position) if reached < position else ():
        yield from _if_wanted(client, frame)


def _if_wanted(client: Client, frame: Frame | None) -> Iterator[bytes]:
    if frame and client.wanted.wants(frame):
        yield frame.text


def _tail(client: Client, hub: Hub) -> Iterator[bytes]:
    """What the hub hands out. XRANGE may have read further than the tail was: that is not sent twice."""
    while not (hub.closed or client.too_slow):
        try:
            frame = client.frames.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            yield HEARTBEAT
            continue
        if frame is None:
            return
        if frame.id is None or frame.id > client.seen:
            yield frame.text
    if client.too_slow:
        yield named_frame("dropped", {"reason": "this client reads too slowly; reconnect to go on from its last id"}).text
