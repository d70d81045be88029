"""Log lines: `time level process module message`, UTC, to standard error. No line per trade."""

import logging
import sys
import time

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s {process} %(name)s: %(message)s"


def get_logger(name: str) -> logging.Logger:
    """The module's logger."""
    return logging.getLogger(name)


def set_up_log(process: str, level: str) -> None:
    """Send every line of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(_FORMAT.replace("{process}", process), "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
