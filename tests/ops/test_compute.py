"""`./gems compute` and `./gems scan` on an instance whose tasks are done: what is shown is of the range that was asked for."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result

from aggregator.tasks import work
from common.errors import ConfigError
from common.lifecycle import Stop
from common.settings import Settings
from ops.cli import gems
from ops.house import House
from tests.browser.still import BARS, SYMBOLS, add_walks


@pytest.fixture
def house(settings: Settings, database) -> Iterator[Settings]:
    """An instance with bars of three symbols, and the worker of its tasks."""
    settings = settings.model_copy(update={"symbols": SYMBOLS, "pairs": ()})
    add_walks(database, settings)
    House(settings.data_dir).remember(settings)
    stop = Stop()
    thread = threading.Thread(target=work, args=(settings, stop))
    thread.start()
    yield settings
    stop.ask()
    thread.join(30)
    assert not thread.is_alive()


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(gems, [*arguments, "--data-dir", str(settings.data_dir)], standalone_mode=False)


def test_statistics_of_a_range_are_computed_and_its_newest_rows_shown(house: Settings, database) -> None:
    with database, database.cursor() as cursor:
        cursor.execute("SELECT min(timestamp) FROM processed_bars")
        (first,) = cursor.fetchone()
    start, end = first + timedelta(seconds=100), first + timedelta(seconds=160)
    result = run(house, "compute", "stats", "--symbol", "BTCUSDT", "--from", start.isoformat(), "--to", end.isoformat())
    assert result.return_value == 0, result.output
    lines = result.output.splitlines()
    assert lines[-1] == "stored: rows 60, changed 60"
    assert lines[-2].startswith(f"{end - timedelta(seconds=1):%H:%M:%S} ")
    assert "…" not in result.output


def test_a_range_without_bars_and_one_that_runs_backwards_are_told(house: Settings) -> None:
    nothing = run(house, "compute", "stats", "--symbol", "NOPE", "--from", "2020-01-01")
    assert nothing.return_value == 1
    assert "from 2020-01-01T00:00:00Z are stored of NOPE. Live are BTCUSDT" in nothing.output
    backwards = run(house, "compute", "stats", "--symbol", "BTCUSDT", "--from", "2020-01-02", "--to", "2020-01-01")
    assert isinstance(backwards.exception, ConfigError)
    assert "--from: 2020-01-02T00:00:00Z is not before --to" in str(backwards.exception)


def test_all_pairs_are_ranked_and_a_short_history_is_told(house: Settings) -> None:
    ranked = run(house, "scan", "--window", "60")
    assert ranked.return_value == 0, ranked.output
    assert "3 pairs; the newest 60 rows of 1s" in ranked.output
    short = run(house, "scan", "--window", "2000")
    assert f"3 pairs; the newest {BARS} rows of 1s" in short.output
    assert "Statistics come with 2000 rows" in short.output
