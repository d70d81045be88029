"""`python -m consumer --worker N`: one writer."""

import argparse
import functools

from common.lifecycle import run
from consumer.worker import work

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m consumer", description=__doc__)
    parser.add_argument("--worker", type=int, default=0, help="number of this writer, from 0; its name in the group")
    number = parser.parse_args().worker
    run(f"writer_{number}", functools.partial(work, number=number))
