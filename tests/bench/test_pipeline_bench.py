"""The pipeline bench counts what it says it counts."""

import json

import pytest
from click.testing import CliRunner

from bench.pipeline import main

TRADES = 6_000
SYMBOLS = 3
#: Trades a second of event time: so that most bars are closed by the trades after them.
PER_S = 500


@pytest.mark.process
def test_the_pipeline_bench_stores_every_trade_and_its_bars_are_what_sql_says() -> None:
    sizes = ["--trades", str(TRADES), "--symbols", str(SYMBOLS), "--per-s", str(PER_S), "--runs", "1"]
    asked = CliRunner().invoke(main, [*sizes, "--json"], catch_exceptions=False)
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout.strip().splitlines()[-1])
    assert found["trades"] == TRADES
    assert found["wrong_bars"] == 0  # against an aggregate of the stored ticks, field by field
    seconds = TRADES // PER_S
    assert (seconds - 2) * SYMBOLS <= found["bars"] <= (seconds + 1) * SYMBOLS * 3
    assert found["pair_rows"] >= seconds - 2
    assert found["trades_per_s"] > 0 and found["copy_rows_per_s"] > 0
    assert found["ratio_to_copy"] == pytest.approx(found["trades_per_s"] / found["copy_rows_per_s"], abs=0.01)
    cost = found["cpu_us_per_trade"]
    processes = {"producer_0", "producer_1", "writer_0", "writer_1", "aggregator_0", "tasks", "postgres", "redis"}
    assert cost.keys() == {*processes, "total"}
    assert cost.keys() - {"total"} == found["peak_mb"].keys()
    assert cost["total"] == pytest.approx(sum(us for name, us in cost.items() if name != "total"), abs=0.05)
