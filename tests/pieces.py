"""Side by side under xdist: which tests belong together, and which begin first, so that none is left to run alone at the end."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

#: They share two instances and a browser, which cost more to start than most of their tests take.
_TOGETHER = ("tests/browser/",)
#: Seconds on two cores, by pieces that take many; a wrong one costs time and nothing else. `--durations=0` tells them.
_SECONDS: Mapping[str, int] = {
    "tests/browser/": 250,
    "tests/processes/test_outages.py": 180,
    "tests/processes/test_feed_gaps.py": 90,
    "tests/processes/test_up_down.py": 90,
    "tests/processes/test_chaos.py": 80,
    "tests/processes/test_producer.py": 80,
    "tests/processes/test_redis_loss.py": 70,
    "tests/processes/test_pipeline.py": 70,
    "tests/processes/test_real_half_day.py": 60,
    "tests/clients/test_binance_clients.py": 60,
    "tests/web/test_exports.py": 50,
    "tests/web/test_session.py": 40,
    "tests/web/test_bad_input.py": 40,
    "tests/web/test_schemathesis.py": 40,
    "tests/processes/test_recordings.py": 40,
    "tests/processes/test_notifier.py": 40,
    "tests/processes/test_bare.py": 40,
    "tests/test_client_live.py": 30,
    "tests/bench/test_reads.py": 30,
    "tests/bench/test_peers.py": 30,
    "tests/bench/test_pipeline_bench.py": 20,
    "tests/processes/test_alert_events.py": 30,
    "tests/processes/test_alert_types.py": 30,
    "tests/processes/test_importer.py": 30,
    "tests/processes/test_faulty_half_day.py": 30,
    "tests/ops/test_verify_live.py": 20,
}


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]
    """A file is one piece of work, for its tests share their servers; a worker that is free takes the longest that is left."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in _TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])

    def _assign_work_unit(self, node: "WorkerController") -> None:
        longest = max(self.workqueue, key=lambda piece: (_SECONDS.get(piece, 0), len(self.workqueue[piece])))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)
