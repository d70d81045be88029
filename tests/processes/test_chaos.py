"""A short storm over a whole instance: nothing lost, nothing doubled, no bar wrong; and the proof itself can fail."""

import json
from collections.abc import Iterator

import pytest

from ops.chaos.promises import Ledger
from ops.chaos.proof import Proof, prove
from ops.chaos.report import show
from ops.chaos.run import Outcome, run
from ops.chaos.world import World, private_world
from ops.steps import Steps

pytestmark = [pytest.mark.process, pytest.mark.siege, pytest.mark.timeout(600)]
SEED, LENGTH_S, RATE = 1, 75.0, 500.0


class Stormed:
    """An instance after the storm."""

    def __init__(self, world: World, ledger: Ledger, outcome: Outcome) -> None:
        self.world, self.ledger, self.outcome = world, ledger, outcome

    def prove(self) -> Proof:
        """The proof once more."""
        return prove(self.world, self.ledger, self.outcome.first_ids)


@pytest.fixture(scope="module")
def stormed() -> Iterator[Stormed]:
    steps, ledger = Steps(), Ledger()
    with private_world(RATE, SEED, steps) as world:
        outcome = run(world, ledger, SEED, LENGTH_S, steps.say, every_s=2.5)
        show(outcome, steps.console)
        yield Stormed(world, ledger, outcome)


def test_nothing_is_lost_nothing_is_doubled_and_no_bar_is_wrong(stormed: Stormed) -> None:
    outcome = stormed.outcome
    proof = outcome.proof
    assert sum(outcome.tally.done.values()) >= 15, outcome.tally
    assert proof.total("due") > 10_000
    assert (proof.total("lost"), proof.missing) == (0, [])
    assert (proof.total("changed"), proof.total("doubled"), proof.strange) == (0, 0, 0)
    assert (proof.wrong_bars, proof.miscounted) == ([], [])
    assert (outcome.moving, outcome.ill) == ([], [])
    assert outcome.holds and json.loads(json.dumps(outcome.as_json()))["proof"]["lost"] == 0


def test_the_proof_sees_a_tick_that_is_gone(stormed: Stormed) -> None:
    gone = stormed.outcome.first_ids["BTCUSDT"] + 100
    stormed.world.rows("DELETE FROM raw_ticks WHERE symbol = 'BTCUSDT' AND trade_id = %s RETURNING 1", gone)
    proof = stormed.prove()
    assert not proof.holds
    assert proof.total("lost") == 1 and proof.missing == [f"BTCUSDT {gone} to {gone}: 1"]
    assert proof.wrong_bars and all(bar.startswith("BTCUSDT") for bar in proof.wrong_bars)
    assert proof.miscounted


def test_the_proof_sees_a_bar_that_is_not_what_the_ticks_say(stormed: Stormed) -> None:
    before = set(stormed.prove().wrong_bars)
    stormed.world.rows(
        "UPDATE processed_bars SET volume = volume + 1e-8 WHERE (timeframe, timestamp) IN (SELECT timeframe, timestamp"
        " FROM processed_bars WHERE symbol = 'ETHUSDT' AND timeframe = '1s' ORDER BY timestamp LIMIT 1) AND symbol = 'ETHUSDT'"
        " RETURNING 1"
    )
    (found,) = set(stormed.prove().wrong_bars) - before
    assert found.startswith("ETHUSDT 1s") and "volume" in found


def test_the_proof_sees_another_price(stormed: Stormed) -> None:
    changed = stormed.outcome.first_ids["SOLUSDT"] + 50
    query = "UPDATE raw_ticks SET price = price + 0.01 WHERE symbol = 'SOLUSDT' AND trade_id = %s RETURNING 1"
    stormed.world.rows(query, changed)
    assert stormed.prove().total("changed") == 1
