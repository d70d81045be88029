"""A connection by picows, which parses frames in C: the thread that calls owns an asyncio loop that runs only while it waits.

What has arrived lies in a queue. The loop is not run, so the socket is not read, until the queue is empty: what waits is
bounded by what one read of the socket brings.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress

import picows

from common.errors import FeedUnavailable
from producer.rest import refusal
from producer.wire import CONNECT_TIMEOUT_S, MAX_MESSAGE_BYTES, close_reason

TEXT, BINARY = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY
CONTINUATION, CLOSE = picows.WSMsgType.CONTINUATION, picows.WSMsgType.CLOSE
CLOSE_TIMEOUT_S = 0.5

#: The library tells each connection and each fault; the feed tells them too, as the errors that it is given.
_quiet = logging.getLogger("picows.client")
_quiet.setLevel(logging.CRITICAL + 1)


class _Inbox(picows.WSListener):
    """Where frames become messages. `end` tells why there will be no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.messages: deque[bytes] = deque()
        self.end: str | None = None
        self.waited_for = False
        self._loop = loop
        self._parts = bytearray()
        self._in_parts = False

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Called for every frame but pings, which the library has answered."""
        refused = transport.is_close_frame_sent or frame.rsv1 or frame.rsv2 or frame.rsv3
        if frame.msg_type in (TEXT, BINARY) and frame.fin and not (refused or self._in_parts):
            self.messages.append(frame.get_payload_as_bytes())
            if self.waited_for:
                self._wake()
        elif not transport.is_close_frame_sent:  # the library reads on for a moment after it has refused a frame
            self._on_other(frame)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The last call."""
        self.finish("the connection broke: the venue hung up")

    def finish(self, reason: str) -> None:
        """The first reason counts."""
        self.end = self.end or reason
        self._wake()

    def _wake(self) -> None:
        if self.waited_for:
            self.waited_for = False
            self._loop.stop()

    def _on_other(self, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.finish("the connection broke: a frame of an extension that was not agreed on")
        elif kind == CLOSE:
            self.finish(f"the venue closed the connection ({close_reason(frame.get_payload_as_bytes())})")
        elif kind in (TEXT, BINARY, CONTINUATION):
            self._on_part(frame, begins=kind != CONTINUATION)

    def _on_part(self, frame: picows.WSFrame, begins: bool) -> None:
        if begins == self._in_parts:
            self.finish("the connection broke: frames of a message out of order")
        elif len(self._parts) + frame.payload_size > MAX_MESSAGE_BYTES:
            self.finish(f"the connection broke: a message of more than {MAX_MESSAGE_BYTES} bytes")
        else:
            self._parts += frame.get_payload_as_memoryview()
            self._in_parts = not frame.fin
            if frame.fin:
                self.messages.append(bytes(self._parts))
                self._parts.clear()
                self._wake()


class PicowsWire:
    """A `Wire`; used by one thread, which may have others beside it."""

    def __init__(self, url: str) -> None:
        """Connect.

        Raises:
            FeedUnavailable: not now; FeedRejected: the venue refuses this address.
        """
        self._loop = asyncio.new_event_loop()
        self._inbox = _Inbox(self._loop)
        self._messages = self._inbox.messages
        try:
            self._transport = self._loop.run_until_complete(self._connected(url))
        except BaseException:
            self._loop.close()
            raise

    async def _connected(self, url: str) -> picows.WSTransport:
        opening = picows.ws_connect(
            lambda *_: self._inbox, url, websocket_handshake_timeout=CONNECT_TIMEOUT_S, max_frame_size=MAX_MESSAGE_BYTES,
            use_aiofastnet=False,
        )  # fmt: skip
        try:
            transport, listener = await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        except picows.WSInvalidStatusError as exc:
            assert exc.response is not None
            raise refusal(int(exc.response.status), str(exc)) from exc
        except TimeoutError as exc:
            raise FeedUnavailable(f"can not connect: no answer for {CONNECT_TIMEOUT_S:g} s") from exc
        except (picows.WSError, OSError, ValueError) as exc:
            raise FeedUnavailable(f"can not connect: {exc}") from exc
        if listener is None:
            raise FeedUnavailable("can not connect: the venue hung up")
        return transport

    def ready(self, timeout_s: float) -> bool:
        """Run the loop until something has arrived; also where that is the end of the connection."""
        inbox = self._inbox
        if self._messages or inbox.end:
            return True
        inbox.waited_for = True
        timer = self._loop.call_later(timeout_s, self._loop.stop)
        self._loop.run_forever()
        timer.cancel()
        inbox.waited_for = False
        return bool(self._messages or inbox.end)

    def recv(self, most: int) -> list[bytes]:
        """The messages that have arrived, at most so many.

        Raises:
            FeedUnavailable: the connection is gone.
        """
        messages = self._messages
        if not messages and self._inbox.end:
            raise FeedUnavailable(self._fault() or self._inbox.end)
        return [messages.popleft() for _ in range(min(most, len(messages)))]

    def close(self) -> None:
        """Close without waiting for the venue's answer."""
        if not self._loop.is_closed():
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect(graceful=False)
            with suppress(picows.WSError, OSError):
                self._loop.run_until_complete(asyncio.wait_for(self._transport.wait_disconnected(), CLOSE_TIMEOUT_S))
            self._loop.close()

    def _fault(self) -> str:
        """What the library itself broke the connection for; empty if it did not."""
        try:
            if self._transport.is_disconnected:
                self._loop.run_until_complete(self._transport.wait_disconnected())
        except (picows.WSError, OSError) as exc:
            return f"the connection broke: {exc}"
        return ""
