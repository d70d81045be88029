"""`python -m aggregator.notifier`: delivers alerts. Any number may run; a receiver is served by one at a time."""

from aggregator.notifier.service import work
from common.lifecycle import run

if __name__ == "__main__":
    run("notifier", work)
