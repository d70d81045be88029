"""Plays a plan on a world: injects, heals, and tells what happens."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from ops.chaos.clients import Again, Asked, Clients, Filed, Late
from ops.chaos.faults import Fault
from ops.chaos.plan import Planned
from ops.chaos.poison import Poisoned
from ops.chaos.processes import frozen, killed
from ops.chaos.stores import (
    GroupDestroyed,
    PostgresCut,
    PostgresOld,
    RedisCut,
    RedisEverysec,
    RedisFlushed,
    RedisFull,
    RedisOld,
    RedisTorn,
    away,
    disk_full,
)
from ops.chaos.venue import VENUE_KINDS
from ops.chaos.world import NotNow, World

Tell = Callable[[str], None]
_HEAL_S = 60.0
_AGAIN_S, _AT_LEAST_S = 3.0, 30.0
_PROCESSES = (
    "producer", "writer_0", "writer_1", "aggregator_0", "tasks", "notifier", "web", "importer", "redis", "postgres", "sim",
)  # fmt: skip

KINDS: tuple[type[Fault], ...] = (
    *map(killed, _PROCESSES),
    *map(frozen, ("redis", "postgres", "writer_0", "aggregator_0", "producer")),
    away("redis"), away("postgres"), away("redis", "postgres"), away("writer_1"), away("aggregator_0"),
    RedisCut, PostgresCut, RedisFull, disk_full("redis"), disk_full("postgres"),
    RedisEverysec, GroupDestroyed, RedisFlushed, RedisTorn, RedisOld, PostgresOld,
    *VENUE_KINDS,
    Late, Again, Filed, Poisoned,
)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What was done, by kind; `skipped`: there was nothing to hit."""

    done: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)


class Storm:
    """One plan being played."""

    def __init__(self, world: World, clients: Clients, tell: Tell) -> None:
        self._world, self._clients, self._tell = world, clients, tell
        self._kinds = {fault.kind: fault for fault in KINDS}
        self.tally = Tally()

    def play(self, planned: Sequence[Planned], length_s: float) -> Tally:
        """All of the plan, and what is left of the time; whatever ends it, all is healed then."""
        began_s, numbers = time.monotonic(), count()
        due: list[tuple[float, int, Planned | Fault]] = [(each.at_s, next(numbers), each) for each in planned]
        heapq.heapify(due)
        try:
            while due:
                at_s, _, what = due[0]
                time.sleep(max(0.0, at_s - (time.monotonic() - began_s)))
                heapq.heappop(due)
                if isinstance(what, Fault):
                    self._heal(what)
                elif fault := self._injected(what):
                    heapq.heappush(due, (time.monotonic() - began_s + what.lasts_s, next(numbers), fault))
                elif at_s + _AGAIN_S + what.lasts_s < length_s and at_s < what.at_s + _AT_LEAST_S:
                    heapq.heappush(due, (at_s + _AGAIN_S, next(numbers), what))
            time.sleep(max(0.0, length_s - (time.monotonic() - began_s)))
        finally:
            for _, _, what in due:
                if isinstance(what, Fault):
                    self._heal(what)
        return self.tally

    def _injected(self, planned: Planned) -> Fault | None:
        kind = self._kinds[planned.kind]
        fault = kind(self._clients) if issubclass(kind, Asked | Poisoned) else kind()
        self._tell(planned.kind + (f" for {planned.lasts_s:.1f} s" if planned.lasts_s else ""))
        try:
            fault.inject(self._world)
        except NotNow as exc:
            self.tally.skipped[planned.kind] = str(exc).splitlines()[0]
            self._tell(f"{planned.kind}: not now, {self.tally.skipped[planned.kind]}")
            return None
        self.tally.done[planned.kind] += 1
        return fault

    def _heal(self, fault: Fault) -> None:
        """Until it is healed: a world that stays ill proves nothing."""
        until_s = time.monotonic() + _HEAL_S
        while True:
            try:
                fault.heal(self._world)
                break
            except NotNow:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.2)
