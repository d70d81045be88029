"""`python -m ops.exchange`: the simulated exchange on 127.0.0.1, until it is asked to stop."""

from common.lifecycle import run
from ops.exchange.server import serve

run("sim", serve)
