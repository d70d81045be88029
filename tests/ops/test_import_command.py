"""`./gems import` makes a task of each file, shows how it goes, and says what came of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.lifecycle import Stop
from common.settings import Settings
from ops.cli import gems
from ops.house import House
from producer.importer import Importer


@pytest.fixture
def importer(settings: Settings) -> Iterator[Settings]:
    """An importer at work for the instance of `settings`."""
    House(settings.data_dir).remember(settings)
    stop = Stop()
    thread = threading.Thread(target=Importer(settings, stop).run)
    thread.start()
    yield settings
    stop.ask()
    thread.join(20)
    assert not thread.is_alive()


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(gems, ["import", "--data-dir", str(settings.data_dir), *arguments], standalone_mode=False)


def test_a_file_is_imported_and_counted(importer: Settings, redis_client, tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-aggTrades-2024-01-01.csv"
    file.write_text("7,42.5,0.1,1,2,1704067200001,True,True\n8,0,0.1,1,2,1704067200001,True,True\n")
    result = run(importer, str(file))
    assert result.return_value == 0, result.output
    assert "1 trades of BTCUSDT, 1 rows refused" in result.output
    assert redis_client.xlen("trades") == 1 and file.exists()


def test_what_can_not_be_imported_is_said_and_fails(importer: Settings, redis_client, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("7,42.5,0.1,1,2,1704067200001,True,True\n")
    result = run(importer, str(file))
    assert result.return_value == 1 and "which symbol" in result.output
    assert run(importer, str(file), "--symbol", "SIM:BTCUSDT").return_value == 0
