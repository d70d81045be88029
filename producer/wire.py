"""What the feed asks of a WebSocket connection, whatever library is behind it."""

from collections.abc import Callable
from typing import Protocol

from common.errors import ConfigError
from common.settings import Settings

CONNECT_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 1 << 20  # a venue's messages have some hundred


class Wire(Protocol):
    """An open connection. Pings are answered in `ready` or `recv`, payload included."""

    def ready(self, timeout_s: float) -> bool:
        """Wait so long at most; True once there is something for `recv`, also where that is the end of the connection."""

    def recv(self, most: int) -> list[bytes]:
        """The messages that have come, in order, at most so many; none if it was a ping or pong. Called when `ready` says so.

        Raises:
            FeedUnavailable: the connection is gone, and all messages before that are read.
        """

    def close(self) -> None:
        """Close without waiting for the venue's answer."""


#: Opens a connection to an address. Raises FeedUnavailable: not now; FeedRejected: the venue refuses this address.
Connect = Callable[[str], Wire]


def connect_by(settings: Settings) -> Connect:
    """The way to connect that the settings ask for; the library is loaded by the first who asks.

    Raises:
        ConfigError: it can not be loaded.
    """
    if settings.ws_client == "picows":
        try:
            from producer.wires.picows_client import PicowsWire
        except ImportError as exc:
            raise ConfigError(f"GEMS_WS_CLIENT: picows can not be loaded ({exc}); the other is websocket-client") from exc
        return PicowsWire
    from producer.wires.websocket_client import WebsocketClientWire

    return WebsocketClientWire


def close_reason(payload: bytes) -> str:
    """What a close frame says."""
    if len(payload) < 2:
        return "no reason given"
    return f"code {int.from_bytes(payload[:2], 'big')} {payload[2:].decode('utf-8', 'replace')}".strip()
