"""Settings: what they refuse at once and by name, and what they make of an absence."""

import pytest

from common.errors import ConfigError
from common.settings import Settings


def test_all_bad_settings_are_told_at_once_and_by_name():
    bad = {"GEMS_PORT": "x", "GEMS_HOST": "0.0.0.0", "GEMS_PAIRS": "A_B", "GEMS_TIMEFRAMES": "7s", "GEMS_SYBMOLS": "A"}
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(bad)
    told = str(refused.value)
    assert all(name in told for name in bad) and "'0.0.0.0'" in told and "'7s'" in told


@pytest.mark.parametrize(
    ("symbols", "pairs"),
    [
        ("BTCUSDT", ()),
        ("AAA,BBB,CCC", ("AAA_BBB",)),
        ("SOLUSDT,ETHUSDT,BTCUSDT", ("BTCUSDT_ETHUSDT",)),
        ("", ()),
    ],
)
def test_symbols_without_a_word_of_pairs_take_those_that_fit(symbols, pairs):
    assert Settings.from_env({"GEMS_SYMBOLS": symbols}).pairs == pairs


def test_no_pairs_can_be_said():
    assert Settings.from_env({"GEMS_SYMBOLS": "AAA,BBB", "GEMS_PAIRS": ""}).pairs == ()


def test_settings_come_back_from_their_own_environment():
    settings = Settings.from_env({"GEMS_SYMBOLS": "AAA,BBB", "GEMS_EARLIEST": "2020-01-01T00:00:00+02:00", "GEMS_HISTORY": "6h"})
    assert Settings.from_env(settings.to_env()) == settings
