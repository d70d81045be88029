"""What the other benches make of what they saw: on cases that can be added up by hand, and on small runs."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import bars, growth
from bench.backlog import a_house, drain, fill, leave_a_checkpoint, make_leaves
from bench.delays import Tick, Update, closing_us, shown_us
from bench.everything import BENCHES, HEADLINES, figure, markdown_of, met, table_of
from bench.feed import made_chunks, made_rows
from bench.report import medians, spread
from common.codec import decode_row
from ops.commands.bench import WHICH
from ops.embedded import PrivateServers

SECOND_US = 1_000_000


def _told(command: Any, *arguments: str) -> dict[str, Any]:
    asked = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert asked.exit_code == 0, asked.output
    told: dict[str, Any] = json.loads(asked.stdout.strip().splitlines()[-1])
    return told


def test_a_median_is_of_each_figure_by_itself_and_what_is_no_number_stays() -> None:
    runs = [{"n": 3, "of": {"us": us}, "says": "x", "spread": {"p50": us + 1}} for us in (5.0, 1.0, 9.0)]
    assert medians(runs) == {"n": 3, "of": {"us": 5.0}, "says": "x", "spread": {"p50": 6.0}}


def test_a_spread_does_not_depend_on_the_order() -> None:
    values = list(range(1, 1001))
    random.Random(3).shuffle(values)
    assert spread(values) == {"p50": 501, "p99": 991, "max": 1000}
    assert spread([7.0]) == {"p50": 7.0, "p99": 7.0, "max": 7.0}


def test_a_trade_is_shown_by_the_first_update_that_counts_it() -> None:
    #  trades   1 2 3 | 4          updates of bar 0:  1 at 10, 3 at 20 (told twice), 2 late at 30
    ticks = [Tick("A", n, us, 0, rank) for n, us, rank in ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, SECOND_US, 1))]
    updates = [Update("A", 0, 3, 20), Update("A", 0, 1, 10), Update("A", 0, 2, 30), Update("B", 0, 9, 1)]
    assert shown_us(ticks, updates) == {("A", 1): 10, ("A", 2): 20, ("A", 3): 20}


def test_a_bar_is_closed_by_the_first_trade_past_its_end_and_the_lateness_of_its_own_symbol() -> None:
    stamps = (0, 900_000, 1_499_999, 1_500_000, 4_500_000)
    ticks = [Tick("A", n, us, 0, 1) for n, us in enumerate(stamps)] + [Tick("B", 9, 9 * SECOND_US, 0, 1)]
    appended = {tick[:2]: 1000 + tick.trade_id for tick in ticks}
    closed = closing_us(ticks, appended, 500_000)
    of_a = {-1: 1001, 0: 1003, 1: 1004, 2: 1004, 3: 1004}  # the last trade came after three quiet seconds
    assert closed == {("A", second * SECOND_US): us for second, us in of_a.items()}  # of B nobody saw who closed one


def test_made_rows_are_trades_with_ids_that_follow_on_each_other_over_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.feed.CHUNK_ROWS", 700)
    chunks = list(made_chunks(2_000, 3, 1_000, until_us=1_700_000_000 * SECOND_US))
    assert [len(chunk) for chunk in chunks] == [700, 700, 600]
    trades = [decode_row(row.rstrip("\n")) for chunk in chunks for row in chunk]
    assert [trade.event_us for trade in trades] == sorted(trade.event_us for trade in trades)
    for symbol in {trade.symbol for trade in trades}:
        ids = [trade.trade_id for trade in trades if trade.symbol == symbol]
        assert ids == list(range(3_000_000_000, 3_000_000_000 + len(ids)))
    assert len(made_rows(1_500, 2, 1_000)) == 1_500


def test_the_bars_bench_compares_its_bars_with_numpy_pandas_and_sql() -> None:
    found = _told(bars.main, "--trades", "20000", "--symbols", "4", "--per-s", "1000", "--no-peers", "--runs", "1")
    assert found["trades"] == 20_000
    assert 20 * 4 <= found["peers"]["pandas"]["bars"] <= 21 * 4
    assert found["total_us"] == pytest.approx(found["read_us"] + found["core_us"], abs=0.01)
    assert found["rebuild"]["ticks_per_s"] > 0


def test_the_bars_bench_notices_a_wrong_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bars.concatenate

    def spoilt(*tables: Any) -> Any:
        made = real(*tables)
        made.high[3] += 1
        return made

    monkeypatch.setattr("bench.bars.concatenate", spoilt)
    with pytest.raises(AssertionError, match="high of the core's bars is not numpy's"):
        bars.measure(5_000, 2, 1_000, peers=False)


@pytest.mark.process
def test_a_drained_backlog_is_stored_beside_what_was_there_and_its_cost_adds_up(servers: PrivateServers, tmp_path: Path) -> None:
    until_us = time.time_ns() // 1000
    house = a_house(servers, "gems_bench_growth", tmp_path, 3)
    try:
        leave_a_checkpoint(house)
        growth.store_ticks(house.database, 10_000, 3, until_us - 6 * SECOND_US)
        days = house.scalar("SELECT count(DISTINCT (timestamp AT TIME ZONE 'UTC')::date) FROM raw_ticks")
        assert days >= growth.DAYS
        make_leaves(house.database, until_us - 6 * SECOND_US, until_us)
        fill(house.client, made_chunks(6_000, 3, 1_000, until_us), 100)
        found = drain(house, servers, 6_000, writers=1)
        house.stop()
        assert house.scalar("SELECT count(*) FROM raw_ticks") == 16_000
        assert house.scalar("SELECT count(*) FROM raw_ticks WHERE trade_id >= 3000000000") == found["trades"] == 6_000
        assert 0 < found["bars"] <= house.scalar("SELECT count(*) FROM processed_bars")  # quiet symbols close a moment later
    finally:
        house.database.close()
    cost = found["cpu_us_per_trade"]
    assert {"writer_0", "aggregator_0", "tasks", "postgres", "redis", "total"} == cost.keys()
    assert cost["total"] == pytest.approx(sum(us for name, us in cost.items() if name != "total"), abs=0.05)
    assert all(mb > 1 for mb in found["peak_mb"].values())


def test_a_ratio_is_of_the_cost_and_memory_is_compared_by_process() -> None:
    base = {"cpu_us_per_trade": {"total": 5.0}, "peak_mb": {"writer_0": 40.0, "redis": 10.0}}
    long = {"cpu_us_per_trade": {"total": 6.0}, "peak_mb": {"writer_0": 44.0, "redis": 100.0}}
    assert growth._ratios(long, base) == {"cost_ratio": 1.2}
    assert growth._memory_ratios(long, base) == {"writer_0": 1.1, "redis": 10.0}


def test_every_bench_can_be_asked_for_and_each_headline_is_of_one() -> None:
    assert {*BENCHES, "all"} == set(WHICH)
    assert {headline.bench for headline in HEADLINES} == set(BENCHES)


def test_a_bench_that_failed_is_a_line_of_the_table_not_a_hole() -> None:
    found: dict[str, Any] = {"machine": {"cores": 2, "cpu": "x", "memory_gb": 1.0, "python": "3"}}
    found |= {name: {"failed": "it broke"} for name in BENCHES}
    found["peers"] = {"ours": {"total_us": 9.5}, "cryptofeed, Redis stream": {"not installed": "pip said no"}}
    values = {headline.path: figure(found, headline) for headline in HEADLINES if headline.bench == "peers"}
    assert values["ours.total_us"] == 9.5 and values["cryptofeed, Redis stream.total_us"] == "pip said no"
    assert table_of(found).row_count == len(HEADLINES)
    assert markdown_of(found).count("it broke") == len(HEADLINES) - 5
    assert [met(value, HEADLINES[0]) for value in (100_000, 99_999, "it broke")] == ["yes", "no", ""]
