"""An aggregator and the tasks as threads of the test, on the real servers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aggregator import tasks
from aggregator.service import aggregate
from common.lifecycle import Stop
from common.settings import Settings


@contextmanager
def an_aggregator(settings: Settings, shard: int = 0) -> Iterator[None]:
    """The owner of a shard; at the end it must stop when asked."""
    with _a_thread(aggregate, settings, shard):
        yield


@contextmanager
def the_tasks(settings: Settings) -> Iterator[None]:
    """What rebuilds; at the end it must stop when asked."""
    with _a_thread(tasks.work, settings):
        yield


@contextmanager
def _a_thread(body, settings: Settings, *more) -> Iterator[None]:
    stop = Stop()
    thread = threading.Thread(target=body, args=(settings, stop, *more))
    thread.start()
    try:
        yield
    finally:
        stop.ask()
        thread.join(60)
    assert not thread.is_alive()
