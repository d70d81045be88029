"""One client's event stream: what it missed, then the tail, with heartbeats between.

The tail goes on in `web.carrier` where the server lets a response go; else in the thread that asks for its parts.
"""

import queue
import socket
import time
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Any

import redis

from common.streams import LIVE, START, EntryId
from web.carrier import HEARTBEAT, HEARTBEAT_S, HandedOver
from web.clients import Client
from web.frames import Filter, Frame, dropped, named_frame
from web.live import Hub, missed, newest_id

_RETRY_MS = 1000
_LOOK_S = 1.0  # between two looks whether a client that gets nothing is still there


def hung_up(connection: socket.socket | None) -> bool:
    """True once the other side has closed: without this look its place would stay taken until the next write."""
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


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


def listen(
    hub: Hub,
    store: redis.Redis,
    wanted: Filter,
    since: EntryId | None,
    gone: Callable[[], bool] = lambda: False,
    carry: Callable[[Client, Callable[[], None]], None] | None = None,
) -> Generator[bytes, None, None]:
    """Frames for one client, until it is gone, falls behind, or the web stops. The caller has taken a place in the hub.

    Raises:
        HandedOver: after what was missed, once `carry` has taken the client and what is to be done at its end.
    """  # fmt: skip
    client, carried = Client(wanted), False

    def leave() -> None:
        hub.drop(client)
        hub.leave()

    try:
        yield from _until_joined(hub, store, client, since)
        if carry and not hub.closed:  # else nobody would tell the client that it is over
            carry(client, leave)
            carried = True
            raise HandedOver
        yield from _tail(client, hub, gone)
    finally:
        if not carried:
            leave()


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


def _tail(client: Client, hub: Hub, gone: Callable[[], bool]) -> Iterator[bytes]:
    """What the hub hands out. XRANGE may have read further than the tail was: that is not sent twice."""
    sent_s = looked_s = time.monotonic()
    while not (hub.closed or client.too_slow):
        if time.monotonic() - looked_s >= _LOOK_S:
            looked_s = time.monotonic()
            if gone():
                return
        try:
            text = client.take(_LOOK_S)
        except queue.Empty:
            if time.monotonic() - sent_s >= HEARTBEAT_S:
                sent_s = time.monotonic()
                yield HEARTBEAT
            continue
        if text is None:
            return
        if text:
            sent_s = time.monotonic()
            yield text
    if client.too_slow:
        yield dropped().text
