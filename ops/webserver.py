"""gunicorn's settings: one worker of many threads, since a live stream holds a thread and no CPU."""

import os

from common.settings import Settings

_settings = Settings.from_env()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = 1
worker_class = "gthread"
threads = _settings.web_threads
graceful_timeout = 3
timeout = 60
keepalive = 15
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True
loglevel = _settings.log_level.lower()
