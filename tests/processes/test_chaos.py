"""A short storm over a whole instance: nothing lost, nothing doubled, no bar wrong; and the proof itself can fail."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.chaos.promises import Ledger
from ops.chaos.proof import Proof, prove
from ops.chaos.report import show
from ops.chaos.run import Outcome, run
from ops.chaos.world import World, private_world
from ops.steps import Steps

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]
SEED, LENGTH_S, RATE = 1, 30.0, 500.0
SIEGE_SEED, SIEGE_S = 2, 150.0


class Stormed:
    """An instance after the storm."""

    def __init__(self, world: World, ledger: Ledger, outcome: Outcome) -> None:
        self.world, self.ledger, self.outcome = world, ledger, outcome

    def prove(self) -> Proof:
        """The proof once more."""
        return prove(self.world, self.ledger, self.outcome.first_ids)


@contextmanager
def a_storm(seed: int, length_s: float, every_s: float) -> Iterator[Stormed]:
    """A storm that is over; what it did is printed."""
    steps, ledger = Steps(), Ledger()
    with private_world(RATE, seed, steps) as world:
        outcome = run(world, ledger, seed, length_s, steps.say, every_s, rest_s=200)
        show(outcome, steps.console)
        yield Stormed(world, ledger, outcome)


@pytest.fixture(scope="module")
def stormed() -> Iterator[Stormed]:
    with a_storm(SEED, LENGTH_S, every_s=1.5) as found:
        yield found


def check(outcome: Outcome, faults: int, due: int) -> None:
    proof = outcome.proof
    assert sum(outcome.tally.done.values()) >= faults, outcome.tally
    assert proof.total("due") > due
    assert (proof.total("lost"), proof.missing) == (0, [])
    assert (proof.total("changed"), proof.total("doubled"), proof.strange) == (0, 0, 0)
    assert (proof.wrong_bars, proof.miscounted, proof.unburied) == ([], [], [])
    assert (outcome.moving, outcome.ill) == ([], [])
    assert outcome.holds and json.loads(json.dumps(outcome.as_json()))["proof"]["lost"] == 0


def test_nothing_is_lost_nothing_is_doubled_and_no_bar_is_wrong(stormed: Stormed) -> None:
    check(stormed.outcome, faults=8, due=5_000)


@pytest.mark.siege
def test_nothing_is_lost_in_a_longer_storm() -> None:
    with a_storm(SIEGE_SEED, SIEGE_S, every_s=2.5) as found:
        check(found.outcome, faults=35, due=30_000)


def test_the_proof_sees_a_tick_that_is_gone(stormed: Stormed) -> None:
    gone = stormed.outcome.first_ids["BTCUSDT"] + 100
    stormed.world.rows("DELETE FROM raw_ticks WHERE symbol = 'BTCUSDT' AND trade_id = %s RETURNING 1", gone)
    proof = stormed.prove()
    assert not proof.holds
    assert proof.total("lost") >= 1 and f"BTCUSDT {gone} to {gone}: 1" in proof.missing
    assert any(bar.startswith("BTCUSDT") for bar in proof.wrong_bars)
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


def test_the_proof_sees_a_promise_that_is_not_kept(stormed: Stormed) -> None:
    promise = next(promise for promise in stormed.ledger if promise.what == "posted" and promise.acknowledged)
    kept = stormed.prove().total("lost")
    stormed.world.rows(
        "DELETE FROM raw_ticks WHERE symbol = 'POSTED' AND trade_id = %s RETURNING 1", promise.trades[0].trade_id
    )
    assert stormed.prove().total("lost") == kept + 1


def test_the_proof_sees_a_tick_that_nobody_sent_and_one_that_is_there_twice(stormed: Stormed) -> None:
    before = stormed.prove()
    stormed.world.rows(
        "INSERT INTO raw_ticks SELECT 'NOBODY', trade_id, timestamp, price, size, side, seq FROM raw_ticks"
        " WHERE symbol = 'XRPUSDT' LIMIT 1 RETURNING 1"
    )
    (leaf,) = stormed.world.rows("SELECT tableoid::regclass::text FROM raw_ticks WHERE symbol = 'XRPUSDT' LIMIT 1")[0]
    for (index,) in stormed.world.rows(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indisunique AND indrelid = %s::regclass", leaf
    ):
        stormed.world.rows(f"DROP INDEX {index}; SELECT 1")
    again = "INSERT INTO {0} SELECT * FROM {0} WHERE symbol = 'XRPUSDT' ORDER BY trade_id LIMIT 1 RETURNING 1"
    stormed.world.rows(again.format(leaf))
    after = stormed.prove()
    assert (after.strange, after.total("doubled")) == (before.strange + 1, before.total("doubled") + 1)
