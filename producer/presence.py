"""Under which name a producer tells its health: several may feed the same symbols, and each is to be seen."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from common.health import Heartbeat

MOST_NAMES = 16  # past it the last word wins


class Presence:
    """The heartbeat `health:producer`, or `health:producer_2` and so on while another producer tells there.

    The field `who` tells them apart: the host and the data directory, of which a spool's lock lets one producer work.
    """

    def __init__(self, client: redis.Redis, data_dir: Path) -> None:
        self._client, self.who = client, identity(data_dir)
        self._name = "producer"
        self._heartbeat = Heartbeat(client, self._name)

    def due(self) -> bool:
        """True when it is time to tell again."""
        return self._heartbeat.due()

    def tell(self, facts: Mapping[str, int | float | str]) -> None:
        """Tell under the first name that is free or ours.

        Raises:
            redis.RedisError, OSError
        """
        name = self._free_name()
        if name != self._name:
            self._name, self._heartbeat = name, Heartbeat(self._client, name)
        self._heartbeat.tell({**facts, "who": self.who})

    def _free_name(self) -> str:
        """Two that see the same name free at the same moment both take it: at the next word one of them moves on."""
        names = ["producer", *(f"producer_{number}" for number in range(2, MOST_NAMES + 1))]
        for name in [self._name, *names]:
            told: Any = self._client.hget(f"health:{name}", "who")
            if told is None or told.decode() == self.who:
                return name
        return names[-1]


def identity(data_dir: Path) -> str:
    """Which producer it is, over restarts too."""
    return f"{socket.gethostname()}:{data_dir.resolve()}"
