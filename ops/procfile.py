"""`python -m ops.procfile migrate|sim`: the two programs that are not always there, for runners that need all of them.

A Procfile runner takes the end of one process for the end of all, and a checked-in file can not leave out the
simulated exchange by a setting. So here the migration stays when it is done, and `sim` idles where the feed is
another one.
"""

import os
import sys

from common.lifecycle import Stop, run
from common.log import get_logger
from common.settings import Settings
from ops.migrate import main as migrate

log = get_logger(__name__)


def migrate_and_stay(settings: Settings, stop: Stop) -> None:
    """Migrate, then wait to be asked to stop."""
    migrate(settings, stop)
    _stay(stop)


def sim_if_wanted(settings: Settings, stop: Stop) -> None:
    """Become the simulated exchange for the feed `sim`; for another one, wait to be asked to stop."""
    if settings.feed == "sim":
        os.execv(sys.executable, [sys.executable, "-m", "ops.exchange"])
    log.info("nothing to do: the feed is %s", settings.feed)
    _stay(stop)


def _stay(stop: Stop) -> None:
    while not stop.wait(3600):
        pass


if __name__ == "__main__":
    choices = {"migrate": migrate_and_stay, "sim": sim_if_wanted}
    if len(sys.argv) != 2 or sys.argv[1] not in choices:
        sys.exit("usage: python -m ops.procfile migrate|sim")
    run(sys.argv[1], choices[sys.argv[1]])
