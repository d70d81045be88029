"""`python -m producer`: live trades of the feed's symbols into the stream."""

from common.lifecycle import run
from producer.service import run_producer

if __name__ == "__main__":
    run("producer", run_producer)
