"""gunicorn: one process (`--workers` makes more), a thread a request; live streams hold none. From the settings of `GEMS_*`."""

import resource
import sys

from common.errors import ConfigError
from common.lifecycle import EXIT_CONFIG
from common.log import set_up_log
from common.settings import Settings
from web.opening import require_admin_key
from web.several import child_exit, on_exit, on_starting  # noqa: F401 - hooks that gunicorn looks for by these names

try:
    _settings = Settings.from_env()
    set_up_log("web", _settings.log_level)
    require_admin_key(_settings)
except ConfigError as exc:
    sys.stderr.write(f"web: {exc}\n")
    sys.exit(EXIT_CONFIG)

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
worker_class = "web.worker.Worker"
workers = 1
threads = _settings.web_threads
#: Connections that say nothing hold no thread, but a place here, and a file.
worker_connections = _settings.web_threads + 1024
keepalive = 15
timeout = 60
graceful_timeout = 3
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None
proc_name = "gems-web"
loglevel = "warning"

_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, min(_hard, 65_536)), _hard))
