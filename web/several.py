"""Hooks of gunicorn for `--workers` above 1: what its processes count is kept in files that each of them can add up.

The directory is named before a worker loads prometheus_client, which looks for it then.
"""

import os
import shutil
import tempfile
from typing import Any

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Before the first worker."""
    if server.cfg.workers > 1 and _DIRECTORY not in os.environ:
        os.environ[_DIRECTORY] = server.gems_metrics = tempfile.mkdtemp(prefix="gems-metrics-")


def child_exit(server: Any, worker: Any) -> None:
    """A worker that is gone serves no live streams; what it counted stays."""
    if _DIRECTORY in os.environ:
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """After the last worker."""
    shutil.rmtree(getattr(server, "gems_metrics", ""), ignore_errors=True)
