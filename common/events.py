"""What has just happened, for live listeners: events on the stream `live`, at least once, keyed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
import redis

from common.streams import LIVE

#: About a quarter of an hour of a busy default set-up; a listener further behind starts again from the tables.
LIVE_LENGTH = 20_000


class Event(NamedTuple):
    """`event` is one of bar, bar.open, bar.revised, spread, spread.revised, stats, alert; `body` is ready for JSON."""

    event: str
    body: dict[str, Any]


def publish(client: redis.Redis, events: Iterable[Event]) -> None:
    """Append the events to `live`, oldest first."""
    pipe = client.pipeline(transaction=False)
    for event, body in events:
        pipe.xadd(LIVE, {"event": event, "data": orjson.dumps(body)}, maxlen=LIVE_LENGTH, approximate=True)
    if len(pipe):
        pipe.execute()
