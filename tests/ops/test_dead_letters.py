"""`./gems dead-letters`: what is good by now goes back into the stream and is stored once; the rest stays; a drop is for good."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from common.lifecycle import Stop
from common.partitions import ensure_tick_leaves
from common.settings import Settings
from common.trades import Trade, from_us
from ops.cli import gems
from ops.house import House
from producer.importer import Importer
from producer.rejects import Reject, store_rejects
from tests.pipeline import Pipeline, a_pipeline

pytestmark = pytest.mark.process
START_US = (time.time_ns() // 1000 - 400_000_000) // 1_000_000 * 1_000_000
TRADES = [Trade("SYM0", 100 + n, START_US + n * 100_000, f"{50 + n % 7}.5", "0.25", "b") for n in range(600)]


@pytest.fixture
def house(settings: Settings) -> Settings:
    House(settings.data_dir).remember(settings)
    return settings


@pytest.fixture
def pipeline(house: Settings, redis_client, database) -> Iterator[Pipeline]:
    with a_pipeline(house, redis_client, database, "writer_0", "aggregator_0", "tasks") as running:
        yield running


def letters(settings: Settings, *arguments: str) -> Result:
    name, *rest = arguments
    command = ["dead-letters", name, "--data-dir", str(settings.data_dir), *rest]
    return CliRunner().invoke(gems, command, standalone_mode=False, catch_exceptions=False)


def listed(settings: Settings, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(letters(settings, "list", "--json", *arguments).stdout)
    return told


def iso(us: int) -> str:
    return f"{from_us(us):%Y-%m-%dT%H:%M:%S.%f}Z"


def bury(database, *rows: tuple[str, str, str, str]) -> None:
    """Letters of (stream, src, reason, payload)."""
    with database, database.cursor() as cursor:
        for number, (stream, src, reason, payload) in enumerate(rows):
            cursor.execute(
                "INSERT INTO dead_letters (stream, entry_id, row_number, src, field, reason, payload)"
                " VALUES (%s, '1-1', %s, %s, 'row', %s, %s)",
                (stream, number, src, reason, payload),
            )


def test_a_row_that_postgresql_takes_now_is_replayed_and_its_bars_are_rebuilt(pipeline, house, database):
    poison = TRADES[250]
    rule = "ALTER TABLE raw_ticks ADD CONSTRAINT no_poison CHECK (NOT (symbol = 'SYM0' AND trade_id = 350))"
    ensure_tick_leaves(database, [from_us(trade.event_us).date() for trade in TRADES])
    with database, database.cursor() as cursor:
        cursor.execute(rule)
    pipeline.send(TRADES)
    pipeline.settle()
    assert (poison.trade_id, pipeline.scalar("SELECT count(*) FROM raw_ticks")) == (350, len(TRADES) - 1)
    told = listed(house)
    assert told["total"] == 1 and "no_poison" in told["letters"][0]["reason"] and told["letters"][0]["src"] == "binance.trade"
    with database, database.cursor() as cursor:
        cursor.execute("ALTER TABLE raw_ticks DROP CONSTRAINT no_poison")
    result = letters(house, "replay", "--all")
    assert result.return_value == 0 and "replayed 1, 0 stay" in result.stdout
    pipeline.wait(lambda: pipeline.scalar("SELECT count(*) FROM raw_ticks") == len(TRADES), 60, "replayed row")
    pipeline.settle()
    assert pipeline.differences() == [] and listed(house)["total"] == 0
    result = letters(house, "replay", "--all")
    assert result.return_value == 0 and "replayed 0" in result.stdout


def test_what_is_still_bad_stays_with_its_reason(house, database, redis_client):
    future = START_US + 10**15
    rows = [
        ("trades", "test.trade", "price must be above 0, was '0'", f"SYM0,7,{iso(START_US)},0,1,b,"),
        ("trades", "test.trade", "is more than 60 s in the future", f"SYM0,8,{iso(START_US)},5,1,b,"),
        ("feed", "test.trade", "is more than 60 s in the future", repr(("SYM0", 9, START_US, "5", "1", "s", None))),
        ("feed", "test.trade", "is more than 60 s in the future", repr(("SYM0", 10, future, "5", "1", "s", None))),
        ("feed", "test.trade", "not a trade", "__import__('os').getpid()"),
        ("trades", "", "no source", f"SYM0,11,{iso(START_US)},5,1,b,"),
        ("trades", "other.trade", "other ids", f"SYM0,12,{iso(START_US)},5,1,b,"),
        ("trades", "test.trade", "trade_id must be a whole number", "SYM0,x,2026,5,1,b,"),
    ]
    bury(database, *rows)
    result = letters(house, "replay", "--all")
    assert result.return_value == 1 and "replayed 2, 6 stay" in result.stdout
    entries = redis_client.xrange("trades")
    assert [(fields[b"src"], fields[b"n"]) for _, fields in entries] == [(b"test.trade", b"2")]
    assert entries[0][1][b"rows"].decode() == f"SYM0,8,{iso(START_US)},5,1,b,\nSYM0,9,{iso(START_US)},5,1,s,\n"
    assert [letter["reason"] for letter in listed(house)["letters"]] == [rows[n][2] for n in (0, 3, 4, 5, 6, 7)]
    assert "other.trade" in result.stdout and "must be a whole number" in result.stdout


def test_rows_of_an_upload_go_through_the_importer_again(house, database, redis_client):
    where = ("upload", "file:SYM0-trades-2026-01-01.csv.gz", 0)
    good, bad = "7,42.5,0.1,4.25,1704067200001,True,True", "8,0,0.1,4.25,1704067200002,True,True"
    refused = ValueError("was refused")
    rejects = [Reject.of((*where[:2], number), "upload", refused, text) for number, text in ((3, good), (9, bad))]
    store_rejects(database, [*rejects, Reject.of(("upload", "forgotten", 1), "upload", refused, good)])
    stop = Stop()
    importer = threading.Thread(target=Importer(house, stop).run)
    importer.start()
    try:
        result = letters(house, "replay", "--all")
    finally:
        stop.ask()
        importer.join(20)
    assert result.return_value == 1 and "replayed 1, 2 stay" in result.stdout, result.output
    assert "price must be above 0" in result.stdout and "nobody remembers which file this was" in result.stdout
    assert [letter["entry_id"] for letter in listed(house)["letters"]] == [where[1], "forgotten"]
    (_, fields), = redis_client.xrange("trades")
    assert (fields[b"src"], fields[b"rows"][:11]) == (b"binance.trade", b"SYM0,7,2024")
    assert not list((house.data_dir / "uploads").iterdir())


def test_list_filters_limits_and_counts(house, database):
    bury(database, *[("trades", "test.trade", f"reason {n % 2}", f"row {n}") for n in range(7)])
    told = listed(house, "--limit", "2", "--reason", "reason 1")
    assert told["total"] == 3 and [letter["payload"] for letter in told["letters"]] == ["row 3", "row 5"]
    assert told["reasons"] == [{"src": "test.trade", "field": "row", "count": 3}]
    text = letters(house, "list").stdout
    assert "7 dead letters" in text and "reason 1" in text
    assert "no dead letters with such a reason" in letters(house, "list", "--reason", "nonesuch").stdout


def test_drop_forgets_the_chosen_ones_only(house, database):
    bury(database, *[("trades", "test.trade", "bad", f"row {n}") for n in range(4)])
    first, second, *_ = [letter["id"] for letter in listed(house)["letters"]]
    assert "dropped 2" in letters(house, "drop", "--id", str(first), "--id", str(second)).stdout
    assert listed(house)["total"] == 2
    assert "dropped 2" in letters(house, "drop", "--all", "--yes").stdout
    assert listed(house)["total"] == 0
    result = letters(house, "replay", "--id", "999999")
    assert result.return_value == 1 and "there is no such letter" in result.stdout


@pytest.mark.parametrize("arguments", [("drop",), ("replay",), ("replay", "--all", "--id", "1")])
def test_nothing_happens_without_a_choice(house, arguments):
    result = CliRunner().invoke(gems, ["dead-letters", arguments[0], "--data-dir", str(house.data_dir), *arguments[1:]])
    assert result.exit_code == 2 and "--id" in result.output
