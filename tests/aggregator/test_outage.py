"""An aggregator without Redis or PostgreSQL: it waits longer and longer, and goes on by itself."""

import logging
import re
import threading
import time

from aggregator.service import aggregate
from common.lifecycle import Stop
from ops.servers.instance import free_port


def test_an_outage_is_retried_ever_less_often_and_told_each_time(settings, caplog):
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    stop = Stop()
    thread = threading.Thread(target=aggregate, args=(away, stop, 0))
    pattern = re.compile(r"going on from the last checkpoint in ([0-9.]+) s")
    delays: list[float] = []
    with caplog.at_level(logging.WARNING, "aggregator.service"):
        thread.start()
        until_s = time.monotonic() + 60
        while len(delays) < 5 and time.monotonic() < until_s:
            time.sleep(0.05)
            delays = [float(found.group(1)) for record in caplog.records if (found := pattern.search(record.getMessage()))]
        stop.ask()
        thread.join(60)
    assert not thread.is_alive() and len(delays) >= 5
    assert delays[4] >= 0.8, "the fifth try waits at least half of 1.6 s"
