"""The reads bench asks what it says it asks, and a program that answers other rows is found out."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from bench.reads import ROUTES, compared, main
from bench.requesters import Asked, figures


def test_figures_are_of_a_request() -> None:
    told = figures(Asked([1.0, 2.0, 3.0, 10.0], wall_s=2.0, cpu_s=0.5, body_bytes=400), {"web": 0.004, "postgres": 0.008})
    assert told["per_s"] == 2 and told["body_bytes"] == 100 and told["clients_cores"] == 0.25
    assert told["cpu_us"] == {"web": 1000, "postgres": 2000, "total": 3000}
    assert told["ms"] == {"p50": 3.0, "p99": 10.0, "max": 10.0}


def _answers(rows: dict[str, Any]) -> dict[str, Any]:
    return {name: {"per_s": 10.0, "cpu_us": {"total": 50}, "rows": rows[name]} for name in ROUTES}


def test_other_rows_are_no_peer() -> None:
    rows = {name: [1, 2] for name in ROUTES}
    found = compared({"ours": _answers(rows), "same": _answers(rows), "failed": {"failed": "no"}})
    assert found["same"]["bars"] == {"per_s": 10.0, "cpu_us": {"total": 50}, "ours_per_s_ratio": 1.0, "ours_cpu_ratio": 1.0}
    with pytest.raises(AssertionError, match="ticks: other answers other rows"):
        compared({"ours": _answers(rows), "other": _answers({**rows, "ticks": [2, 1]})})


@pytest.mark.process
def test_the_reads_bench_gets_the_rows_that_a_bare_loop_gets() -> None:
    sizes = ["--ticks", "4000", "--per-s", "10", "--seconds", "0.5", "--clients", "3", "--rounds", "2", "--no-peers"]
    asked = CliRunner().invoke(main, [*sizes, "--json"], catch_exceptions=False)
    assert asked.exit_code == 0, asked.output
    found = json.loads(asked.stdout.strip().splitlines()[-1])
    assert found["ticks"] == 4000 and found["bars"] >= 4000 and found["rounds"] == 2
    for name in ROUTES:
        ours, bare = found["ours"][name], found["psycopg2"][name]
        assert ours["per_s"] > 0 and bare["per_s"] > 0
        assert abs(ours["cpu_us"]["total"] - ours["cpu_us"]["web"] - ours["cpu_us"]["postgres"]) <= 1  # medians are rounded
    assert found["ours"]["bars"]["body_bytes"] > 500 * 200
