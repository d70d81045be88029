"""A short storm over a whole instance: nothing lost, nothing doubled, no bar wrong; and the proof itself can fail."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

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
#: Tables that each test finds as they were after the storm.
KEPT = ("raw_ticks", "processed_bars")
#: They would make bars of a test's damage, whenever the clock closes one.
BAR_MAKERS = ("aggregator_0", "tasks")
UNIQUE = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_inherits ON inhrelid = indrelid
WHERE inhparent = 'raw_ticks'::regclass AND indisunique
"""


class Stormed:
    """An instance after the storm."""

    def __init__(self, world: World, ledger: Ledger, outcome: Outcome) -> None:
        self.world, self.ledger, self.outcome = world, ledger, outcome

    def prove(self) -> Proof:
        """The proof once more."""
        return prove(self.world, self.ledger, self.outcome.first_ids)

    def stop(self, name: str) -> None:
        """Stop a process."""
        self.world.house.supervisor().stopProcess(f"{self.world.processes()[name]['group']}:{name}", True)

    def run(self, statement: str, *params: Any) -> int:
        """How many rows a statement changed."""
        with closing(self.world.database()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, params or None)
            return cursor.rowcount


@contextmanager
def a_storm(seed: int, length_s: float, every_s: float) -> Iterator[Stormed]:
    """A storm that is over; what it did is printed."""
    steps, ledger = Steps(), Ledger()
    with private_world(RATE, seed, steps) as world:
        outcome = run(world, ledger, seed, length_s, steps.say, every_s, rest_s=200)
        show(outcome, steps.console)
        yield Stormed(world, ledger, outcome)


@pytest.fixture(scope="module")
def after_storm() -> Iterator[Stormed]:
    with a_storm(SEED, LENGTH_S, every_s=1.5) as found:
        for name in BAR_MAKERS:
            found.stop(name)
        for table in KEPT:
            found.run(f"CREATE TABLE kept_{table} AS TABLE {table}")
        yield found


@pytest.fixture
def stormed(after_storm: Stormed) -> Iterator[Stormed]:
    """The same for each test: whatever one breaks is whole again, so that no other's damage makes up for it."""
    indexes = set(after_storm.world.rows(UNIQUE))
    yield after_storm
    for table in KEPT:
        after_storm.run(f"DELETE FROM {table}")  # noqa: S608
        after_storm.run(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # noqa: S608
    for _, definition in indexes - set(after_storm.world.rows(UNIQUE)):
        after_storm.run(definition)


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


def broken_laws(proof: Proof) -> dict[str, Any]:
    """What a proof finds wrong, all of it, without the bars."""
    found = {name: proof.total(name) for name in ("lost", "changed", "doubled")}
    found |= {"strange": proof.strange, "miscounted": proof.miscounted, "unburied": proof.unburied}
    assert proof.holds == (not any([*found.values(), proof.wrong_bars]))
    return {name: what for name, what in found.items() if what}


def miscounted(there: int, counted: int) -> list[str]:
    return [f"{there:,} ticks are there, the writers counted {counted:,}", f"{there:,} ticks are there, stats/ tells {counted:,}"]


def counted(stormed: Stormed) -> int:
    """By the writers."""
    return int(stormed.world.rows("SELECT sum(stored) FROM writer_positions")[0][0])


def test_the_proof_sees_a_tick_that_is_gone(stormed: Stormed) -> None:
    gone, count = stormed.outcome.first_ids["BTCUSDT"] + 100, counted(stormed)
    assert stormed.run("DELETE FROM raw_ticks WHERE symbol = 'BTCUSDT' AND trade_id = %s", gone) == 1
    proof = stormed.prove()
    assert broken_laws(proof) == {"lost": 1, "miscounted": miscounted(count - 1, count)}
    assert proof.missing == [f"BTCUSDT {gone} to {gone}: 1"]
    assert proof.wrong_bars and all(bar.startswith("BTCUSDT") for bar in proof.wrong_bars)


def test_the_proof_sees_a_bar_that_is_not_what_the_ticks_say(stormed: Stormed) -> None:
    first = "SELECT min(timestamp) FROM processed_bars WHERE symbol = 'ETHUSDT' AND timeframe = '1s'"
    query = "UPDATE processed_bars SET volume = volume + 1e-8 WHERE (symbol, timeframe) = ('ETHUSDT', '1s') AND timestamp"
    assert stormed.run(f"{query} = ({first})") == 1
    proof = stormed.prove()
    found = "; ".join(proof.wrong_bars)
    assert len(proof.wrong_bars) == 1, found
    assert found.startswith("ETHUSDT 1s") and "volume" in found and broken_laws(proof) == {}


def test_the_proof_sees_another_price(stormed: Stormed) -> None:
    changed = stormed.outcome.first_ids["SOLUSDT"] + 50
    query = "UPDATE raw_ticks SET price = price + 0.01 WHERE symbol = 'SOLUSDT' AND trade_id = %s"
    assert stormed.run(query, changed) == 1
    assert broken_laws(stormed.prove()) == {"changed": 1}


def test_the_proof_sees_a_promise_that_is_not_kept(stormed: Stormed) -> None:
    promise = next(promise for promise in stormed.ledger if promise.what == "posted" and promise.acknowledged)
    gone, count = promise.trades[0].trade_id, counted(stormed)
    assert stormed.run("DELETE FROM raw_ticks WHERE symbol = 'POSTED' AND trade_id = %s", gone) == 1
    assert broken_laws(stormed.prove()) == {"lost": 1, "miscounted": miscounted(count - 1, count)}


def test_the_proof_sees_a_tick_that_nobody_sent_and_one_that_is_there_twice(stormed: Stormed) -> None:
    count = counted(stormed)
    nobodys = "SELECT 'NOBODY', trade_id, timestamp, price, size, side, seq FROM raw_ticks WHERE symbol = 'XRPUSDT' LIMIT 1"
    assert stormed.run(f"INSERT INTO raw_ticks {nobodys}") == 1
    for index, _ in stormed.world.rows(UNIQUE):
        stormed.run(f"DROP INDEX {index}")
    again = "SELECT * FROM raw_ticks WHERE symbol = 'XRPUSDT' ORDER BY trade_id LIMIT 1"
    assert stormed.run(f"INSERT INTO raw_ticks {again}") == 1
    assert broken_laws(stormed.prove()) == {"doubled": 1, "strange": 1, "miscounted": miscounted(count + 2, count)}
