"""Tests: unit (mirrors the tree), properties, contracts, processes, web, ops; against real servers only."""

import os

#: Asked for by hand with GEMS_TEST_WHOLE=1: the long form of some tests. Read before conftest.py takes GEMS_* away.
WHOLE = bool(os.environ.get("GEMS_TEST_WHOLE"))
