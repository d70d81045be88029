"""`./gems pairs` by hand: a pair is named as in GEMS_PAIRS, or with options."""

import pytest
from click.testing import CliRunner
from psycopg2.extensions import connection as Connection

from common.errors import ConfigError
from common.settings import Settings
from ops.cli import gems
from ops.house import House


def test_a_pair_is_added_and_removed_as_gems_pairs_names_it(settings: Settings, database: Connection) -> None:
    House(settings.data_dir).remember(settings)
    house = ["--data-dir", str(settings.data_dir)]

    def run(*arguments: str) -> str:
        return CliRunner().invoke(gems, ["pairs", *arguments, *house], standalone_mode=False, catch_exceptions=False).stdout

    added = run("add", "btcusdt_ethusdt@Kalman+log:120", "--timeframe", "1s")
    assert added.startswith("BTCUSDT_ETHUSDT 1s kalman+log over 120: added; task ")
    run("add", "BTCUSDT_ETHUSDT@tls", "--timeframe", "1s", "--window", "30")
    assert [line.split()[2:4] for line in run("list").splitlines()[1:]] == [["30", "tls"], ["120", "kalman+log"]]
    assert run("remove", "BTCUSDT_ETHUSDT@tls:30") == "BTCUSDT_ETHUSDT 1s tls over 30: removed; its rows stay\n"
    for wrong, words in (
        ("BTCUSDT_ETHUSDT@magic", "was 'magic'"),
        ("BTCUSDT_ETHUSDT@ols:x", "was 'x'"),
        ("A_B", "'A_B' is not Y_X"),
    ):
        with pytest.raises(ConfigError, match=words):
            run("add", wrong)
