"""A whole run: an instance, a storm, rest, proof."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.errors import GemsError
from ops.chaos.clients import Clients
from ops.chaos.plan import plan
from ops.chaos.promises import Ledger
from ops.chaos.proof import Proof, prove
from ops.chaos.rest import missing_ids, what_moves
from ops.chaos.storm import KINDS, Storm, Tally
from ops.chaos.world import World

_FLOW_S = 120.0
_CLEAR_S = 4.0
_FIRST_IDS = "SELECT symbol, min(trade_id) FROM raw_ticks WHERE trade_id >= 0 AND symbol = ANY(%s) GROUP BY symbol"
_DRAIN_S = 150.0
_FETCH_S = 90.0  # the venue allows so much a minute
_STILL_S = 3.0  # heartbeats are two seconds old at most

Tell = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """All that a run shows."""

    tally: Tally
    proof: Proof
    moving: list[str]  # what had not come to rest
    ill: list[str]  # requests that were refused as wrong
    attempts: int
    refused: int
    rest_s: float
    seed: int
    rate: float
    first_ids: dict[str, int]  # by symbol: the exchange's trades are owed from there on

    @property
    def holds(self) -> bool:
        """True if no law was broken and everything came to rest."""
        return self.proof.holds and not self.moving and not self.ill

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        own = {name: getattr(self, name) for name in ("seed", "rate", "moving", "ill", "attempts", "refused", "rest_s", "holds")}
        done = self.tally.done
        tally = {"faults": sum(done.values()), "done": dict(done), "skipped": self.tally.skipped}
        return {**own, **tally, "proof": self.proof.as_json()}


def run(
    world: World, ledger: Ledger, seed: int, length_s: float, tell: Tell, every_s: float = 4.0, rest_s: float = 300.0
) -> Outcome:
    """Storm over `world` for that long, wait until all is at rest, and prove."""
    first_ids = first_ids_of(world)
    tell(f"trades flow, {len(KINDS)} kinds of faults for {length_s:.0f} s, seed {seed}")
    clients = Clients(world, ledger, seed)
    storm = Storm(world, clients, tell)
    try:
        tally = storm.play(plan(seed, length_s, [kind.shape(length_s) for kind in KINDS], every_s), length_s)
    finally:
        answered = clients.stop(_DRAIN_S)
    tell("the storm is over: a few calm seconds, then the exchange stops trading")
    time.sleep(_CLEAR_S)
    world.tell_exchange("/sim/faults", {"halted": True})
    moving, took_s = _rest(world, rest_s, tell)
    if not answered:
        moving.append("a client still waits for its answer")
    tell("comparing every trade and every bar")
    proof = prove(world, ledger, first_ids)
    ways = clients.faults, clients.attempts, clients.refused
    return Outcome(tally, proof, moving, *ways, round(took_s, 1), seed, world.settings.sim_rate, first_ids)


def first_ids_of(world: World) -> dict[str, int]:
    """Where each symbol's trades begin, once all are stored from there on."""
    symbols = world.settings.symbols
    if not world.wait(lambda: len(world.rows(_FIRST_IDS, list(symbols))) == len(symbols), _FLOW_S):
        raise GemsError("no trades flow into the private instance; its logs say more")
    time.sleep(1.0)  # the newest commit may have been another symbol's first
    return dict(world.rows(_FIRST_IDS, list(symbols)))


def _rest(world: World, deadline_s: float, tell: Tell) -> tuple[list[str], float]:
    """What still moves when the time is over, and how long it took to rest."""
    began_s = told_s = time.monotonic()
    moving: list[str] = []
    still_since_s: float | None = None

    def resting() -> bool:
        nonlocal moving, told_s, still_since_s
        moving = ["a server that does not answer"]
        moving = what_moves(world)
        now_s = time.monotonic()
        still_since_s = None if moving else still_since_s or now_s
        if moving and now_s - told_s > 10:
            told_s = now_s
            tell("waiting: " + "; ".join(moving))
        return still_since_s is not None and now_s - still_since_s > _STILL_S

    fetched = True
    while fetched and not world.wait(resting, deadline_s):  # so long once more while REST brings what is missing
        fetched = world.wait(partial(_has_fetched, world, missing_ids(world)), _FETCH_S)
    return moving, time.monotonic() - began_s


def _has_fetched(world: World, missing: int) -> bool:
    return missing_ids(world) < missing
