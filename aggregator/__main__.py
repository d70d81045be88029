"""`python -m aggregator --shard N`: the aggregator of one shard."""

import argparse
import functools

from aggregator.service import aggregate
from common.lifecycle import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m aggregator", description=__doc__)
    parser.add_argument("--shard", type=int, default=0, help="number of the shard, from 0")
    shard = parser.parse_args().shard
    run(f"aggregator_{shard}", functools.partial(aggregate, shard=shard))
