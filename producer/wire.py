"""What the feed asks of a WebSocket connection, whatever library is behind it."""

from collections.abc import Callable
from typing import Protocol

from common.settings import Settings


class Wire(Protocol):
    """An open connection. Pings are answered in `ready` or `recv`, payload included."""

    def ready(self, timeout_s: float) -> bool:
        """Wait so long at most; True once there is something for `recv`, also where that is the end of the connection."""

    def recv(self) -> bytes | None:
        """The next message, or None if it was a ping or pong. Called when `ready` or `has_read` says so.

        Raises:
            FeedUnavailable: the connection is gone.
        """

    def has_read(self) -> bool:
        """True if `recv` has an answer that needs no waiting."""

    def close(self) -> None:
        """Close without waiting for the venue's answer."""


#: Opens a connection to an address. Raises FeedUnavailable: not now; FeedRejected: the venue refuses this address.
Connect = Callable[[str], Wire]


def connect_by(settings: Settings) -> Connect:
    """The way to connect that the settings ask for."""
    from producer.wires.websocket_client import WebsocketClientWire

    return WebsocketClientWire
