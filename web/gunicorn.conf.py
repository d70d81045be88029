"""gunicorn: one process, a thread a request; live streams hold one each. All from the settings of `GEMS_*`."""

import signal
import sys
from typing import Any

from common.errors import ConfigError
from common.lifecycle import EXIT_CONFIG
from common.log import set_up_log
from common.settings import Settings
from web.opening import require_admin_key

try:
    _settings = Settings.from_env()
    set_up_log("web", _settings.log_level)
    require_admin_key(_settings)
except ConfigError as exc:
    sys.stderr.write(f"web: {exc}\n")
    sys.exit(EXIT_CONFIG)

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
worker_class = "gthread"
workers = 1
threads = _settings.web_threads
worker_connections = _settings.web_threads + 64
keepalive = 15
timeout = 60
graceful_timeout = 3
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None
proc_name = "gems-web"
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """End the live streams at SIGTERM, so that the worker need not wait for them."""
    inherited: Any = signal.getsignal(signal.SIGTERM)

    def end_streams(number: int, frame: Any) -> None:
        worker.wsgi.extensions["gems.hub"].close()
        inherited(number, frame)

    signal.signal(signal.SIGTERM, end_streams)
