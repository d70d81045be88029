"""A house for tests of what is stored."""

from collections.abc import Iterator

import pytest

from tests.aggregator.house import House


@pytest.fixture
def house(settings, redis_client, database) -> Iterator[House]:
    """Pair A_B with a window of 5 bars; 1s, 1m and 5m bars."""
    update = {"symbols": ("A", "B"), "pairs": ("A_B",), "window": 5, "stale_leg_s": 20}
    made = House(settings.model_copy(update=update), redis_client, database)
    yield made
    made.close()
